//! Pages of lists.
//!
//! An index holds keys only, so a page of one costs a query for the keys and a batch of reads for the items. A list that is spread
//! is read side by side and merged.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use domain::page::{Page, PageRequest};
use domain::{Error, Result};
use futures::future::{try_join, try_join_all};

use crate::aws_calls::{Call, aws_error};
use crate::item::{Item, log_unreadable, text};
use crate::keys::{PARTITION, SORT};
use crate::list::List;
use crate::merge::Reader;
use crate::{Store, large};

/// The size at which a page ends early, in bytes of entities as responses carry them: Lambda answers with 6 MB at most.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The number of items that DynamoDB reads at once.
const BATCH: usize = 100;
/// The number of times that a batch is asked for what DynamoDB left out of it.
const BATCH_ATTEMPTS: u32 = 6;

impl Store {
    /// Reads one page of a list. A page ends early, with a cursor, before it outgrows what a Lambda may answer. A row that cannot be
    /// read is left out and logged: it does not hide the others.
    pub(crate) async fn page<T>(
        &self,
        list: &List<'_>,
        request: &PageRequest,
        read: impl Fn(&Item) -> Result<T>,
    ) -> Result<Page<T>> {
        self.page_of(list, request, |item| read(item).map(Some))
            .await
    }

    /// Like [`Self::page`]. A row of which `read` makes nothing is left out: an index may lag behind what its items are by now.
    pub(crate) async fn page_of<T>(
        &self,
        list: &List<'_>,
        request: &PageRequest,
        read: impl Fn(&Item) -> Result<Option<T>>,
    ) -> Result<Page<T>> {
        let total = self.total(list, request.wants_total);
        let ((rows, next_cursor), total) = try_join(self.rows(list, request), total).await?;
        let rows = self.whole_rows(rows).await?;
        let items = rows.iter().filter_map(|row| {
            read(row).unwrap_or_else(|error| {
                log_unreadable(row, &error);
                None
            })
        });
        Ok(Page {
            items: items.collect(),
            next_cursor,
            total,
        })
    }

    /// The items of a page, and the cursor to go on with if there are more.
    async fn rows(
        &self,
        list: &List<'_>,
        request: &PageRequest,
    ) -> Result<(Vec<Item>, Option<String>)> {
        let wanted = request.limit.get() as usize;
        let cursor = request.cursor.as_ref().map(list.place_of).transpose()?;
        let mut reader = Reader::new(self, list, cursor);
        if !reader.skip(request.offset).await? {
            return Ok((Vec::new(), None));
        }
        let sort = list.attributes().1;
        let cursor_of = |row: &Item| {
            let key = text(row, sort)?;
            key.strip_prefix(list.prefix).map(str::to_owned)
        };
        let mut rows: Vec<Item> = Vec::new();
        let mut size = 0;
        // One more than wanted tells whether there is a next page.
        while let Some(row) = reader.next(wanted + 1 - rows.len()).await? {
            size += large::size(&row)?;
            if rows.len() == wanted || (size > MAX_PAGE_BYTES && !rows.is_empty()) {
                let next_cursor = rows.last().and_then(cursor_of);
                return self.items_of(list, rows, next_cursor).await;
            }
            rows.push(row);
        }
        self.items_of(list, rows, None).await
    }

    /// The items that rows stand for, as many as fit into a page.
    async fn items_of(
        &self,
        list: &List<'_>,
        rows: Vec<Item>,
        next_cursor: Option<String>,
    ) -> Result<(Vec<Item>, Option<String>)> {
        let Some(index) = list.index else {
            return Ok((rows, next_cursor));
        };
        let mut found = self.items(list.table, &rows).await?;
        let (mut items, mut size) = (Vec::new(), 0);
        let mut last = None;
        for row in &rows {
            // What is gone is left out.
            let Some(item) = found.remove(&place(row)) else {
                continue;
            };
            size += large::size(&item)?;
            if size > MAX_PAGE_BYTES && !items.is_empty() {
                return Ok((items, last));
            }
            let key = text(row, index.sort());
            last = key.and_then(|key| key.strip_prefix(list.prefix).map(str::to_owned));
            items.push(item);
        }
        Ok((items, next_cursor))
    }

    /// The items of these keys, by their keys. They are as they are now, however far behind an index may be.
    pub(crate) async fn items(
        &self,
        table: &str,
        keys: &[Item],
    ) -> Result<HashMap<(String, String), Item>> {
        let batches = keys.chunks(BATCH).map(|keys| self.batch(table, keys));
        let items = try_join_all(batches).await?.into_iter().flatten();
        Ok(items.map(|item| (place(&item), item)).collect())
    }

    async fn batch(&self, table: &str, keys: &[Item]) -> Result<Vec<Item>> {
        let names = [PARTITION, SORT];
        let key = |row: &Item| {
            let attributes = names.iter().filter_map(|name| row.get_key_value(*name));
            attributes
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Item>()
        };
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys.iter().map(key).collect()))
            .consistent_read(true);
        let mut wanted = Some(wanted.build().map_err(Error::internal)?);
        let mut items = Vec::new();
        for attempt in 0..BATCH_ATTEMPTS {
            let Some(left) = wanted.take() else {
                return Ok(items);
            };
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
            }
            let call = self.dynamodb.batch_get_item().request_items(table, left);
            let output = call.sent().await.map_err(aws_error)?;
            let found = output.responses.unwrap_or_default().into_values();
            items.extend(found.flatten());
            let left = output.unprocessed_keys.unwrap_or_default();
            wanted = left.into_values().next();
        }
        match wanted {
            None => Ok(items),
            Some(_) => Err(Error::unavailable("DynamoDB did not read a whole batch")),
        }
    }

    /// A query for a list in one of its partitions, newest first; `None` when its bounds leave no room.
    pub(crate) fn query(
        &self,
        list: &List<'_>,
        partition: &str,
        cursor: Option<&str>,
    ) -> Option<QueryFluentBuilder> {
        let (condition, values) = list.condition(cursor)?;
        let mut query = self
            .dynamodb
            .query()
            .table_name(list.table)
            .set_index_name(list.index.map(|index| index.name().to_owned()))
            .key_condition_expression(condition)
            .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()))
            .scan_index_forward(false);
        for (name, value) in values {
            query = query.expression_attribute_values(name, AttributeValue::S(value));
        }
        Some(query)
    }
}

/// A row's key in its table.
pub(crate) fn place(row: &Item) -> (String, String) {
    let part = |name| text(row, name).unwrap_or_default().to_owned();
    (part(PARTITION), part(SORT))
}
