//! Lists: rows whose sort keys are ids, newest first, in one partition or spread over several.
//!
//! An index holds keys only, so a page of one costs a query for the keys and a batch of reads for the items. A list that is spread
//! is read side by side and merged.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Select};
use domain::page::{Page, PageRequest};
use domain::{Error, Result};
use futures::future::{try_join, try_join_all};

use crate::item::{Item, aws_error, log_unreadable, low, sent, text};
use crate::keys::{Index, PARTITION, SORT};
use crate::totals::Total;
use crate::{Store, large};

/// Where a page ends early, in bytes of entities as responses carry them: Lambda answers with 6 MB at most.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// How many items DynamoDB reads at once.
const BATCH: usize = 100;
/// How often a batch is asked for what DynamoDB left out of it.
const BATCH_ATTEMPTS: u32 = 6;
/// Rows that a partition of several gives beyond its share: ids spread evenly, but not exactly.
const SPREAD: usize = 8;

/// A list. One that has an index gives the items that its rows stand for.
#[derive(Clone)]
pub(crate) struct List<'a> {
    pub(crate) table: &'a str,
    pub(crate) index: Option<Index>,
    pub(crate) partitions: Vec<String>,
    /// What every sort key begins with.
    pub(crate) prefix: &'a str,
    /// Bounds within the prefix, both inclusive; ids of the oldest and the newest row wanted.
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) total: Total,
}

impl<'a> List<'a> {
    pub(crate) fn new(table: &'a str, partition: String) -> Self {
        Self {
            table,
            index: None,
            partitions: vec![partition],
            prefix: "",
            from: None,
            to: None,
            total: Total::Counted,
        }
    }

    pub(crate) fn of_index(table: &'a str, index: Index, partition: String) -> Self {
        Self {
            index: Some(index),
            ..Self::new(table, partition)
        }
    }

    /// The partition and the sort attribute.
    fn attributes(&self) -> (&'static str, &'static str) {
        self.index
            .map_or((PARTITION, SORT), |index| (index.partition(), index.sort()))
    }

    /// The key condition and its values. A cursor is the id of the last row seen, so what follows lies strictly below it;
    /// being only a part of a sort key, it can never lead into another tenant's partition.
    ///
    /// `None` when nothing lies between the bounds: DynamoDB refuses a lower bound above the upper one.
    fn condition(&self, cursor: Option<&str>) -> Option<(String, [(&'static str, String); 2])> {
        let (partition, sort) = self.attributes();
        let low = low(&format!(
            "{}{}",
            self.prefix,
            self.from.as_deref().unwrap_or_default()
        ));
        // '~' sorts after every character that ids are made of.
        let high = match (cursor, &self.to) {
            (Some(cursor), Some(to)) => cursor.min(to).to_owned(),
            (Some(cursor), None) => cursor.to_owned(),
            (None, Some(to)) => to.clone(),
            (None, None) => "~".to_owned(),
        };
        let high = format!("{}{high}", self.prefix);
        if low > high {
            return None;
        }
        Some((
            format!("{partition} = :partition AND {sort} BETWEEN :low AND :high"),
            [(":low", low), (":high", high)],
        ))
    }
}

/// Reads the rows of a list's partitions as one list.
struct Reader<'a> {
    store: &'a Store,
    list: &'a List<'a>,
    cursor: Option<&'a str>,
    merge: Merge<'a>,
}

/// The rows at hand of several partitions.
struct Merge<'a> {
    sort: &'static str,
    shards: Vec<Shard<'a>>,
    /// The sort key of the last row given: a row that moves between partitions may be seen in both.
    last: Option<String>,
}

struct Shard<'a> {
    partition: &'a str,
    rows: VecDeque<Item>,
    /// Where to read on.
    start: Option<Item>,
    is_read: bool,
}

impl<'a> Reader<'a> {
    fn new(store: &'a Store, list: &'a List<'a>, cursor: Option<&'a str>) -> Self {
        let shards = list.partitions.iter().map(|partition| Shard {
            partition,
            rows: VecDeque::new(),
            start: None,
            is_read: false,
        });
        let merge = Merge {
            sort: list.attributes().1,
            shards: shards.collect(),
            // The cursor's own row lies within the bounds.
            last: cursor.map(|cursor| format!("{}{cursor}", list.prefix)),
        };
        Self {
            store,
            list,
            cursor,
            merge,
        }
    }

    /// The next row. When one of the partitions has to be read for it, `wanted` rows are hoped for.
    async fn next(&mut self, wanted: usize) -> Result<Option<Item>> {
        loop {
            self.fill(wanted).await?;
            match self.merge.pop() {
                Some(row) => return Ok(Some(row)),
                None if self.merge.shards.iter().all(Shard::is_over) => return Ok(None),
                None => {}
            }
        }
    }

    /// Reads on, side by side, in those partitions of which nothing is at hand.
    async fn fill(&mut self, wanted: usize) -> Result<()> {
        let (store, list, cursor) = (self.store, self.list, self.cursor);
        // One more for the cursor's own row.
        let mut limit = wanted + usize::from(cursor.is_some());
        if list.partitions.len() > 1 {
            limit = limit.min(2 * wanted / list.partitions.len() + SPREAD);
        }
        let shards = self.merge.shards.iter_mut();
        let empty = shards.filter(|shard| shard.rows.is_empty() && !shard.is_read);
        try_join_all(empty.map(|shard| shard.read(store, list, cursor, limit))).await?;
        Ok(())
    }
}

impl Merge<'_> {
    /// Takes the newest row, as long as no partition that is not read to its end has run out of rows.
    fn pop(&mut self) -> Option<Item> {
        let sort = self.sort;
        loop {
            if self.shards.iter().any(Shard::is_empty_for_now) {
                return None;
            }
            let key = |shard: &Shard<'_>| {
                let row = shard.rows.front()?;
                text(row, sort).map(str::to_owned)
            };
            let newest = self.shards.iter_mut().max_by_key(|shard| key(shard))?;
            let row = newest.rows.pop_front()?;
            let key = text(&row, sort).map(str::to_owned);
            if key != self.last {
                self.last = key;
                return Some(row);
            }
        }
    }
}

impl Shard<'_> {
    fn is_empty_for_now(&self) -> bool {
        self.rows.is_empty() && !self.is_read
    }

    fn is_over(&self) -> bool {
        self.rows.is_empty() && self.is_read
    }

    async fn read(
        &mut self,
        store: &Store,
        list: &List<'_>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<()> {
        while self.is_empty_for_now() {
            let Some(query) = store.query(list, self.partition, cursor) else {
                self.is_read = true;
                return Ok(());
            };
            let query = query
                .consistent_read(list.index.is_none())
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .set_exclusive_start_key(self.start.take());
            let output = sent(query.send()).await.map_err(aws_error)?;
            self.rows.extend(output.items.unwrap_or_default());
            self.start = output.last_evaluated_key;
            self.is_read = self.start.is_none();
        }
        Ok(())
    }
}

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

    /// Likewise. A row of which `read` makes nothing is left out: an index may lag behind what its items are by now.
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
        let mut reader = Reader::new(self, list, request.cursor.as_deref());
        if !self.skip(&mut reader, request.offset).await? {
            return Ok((Vec::new(), None));
        }
        let sort = list.attributes().1;
        let cursor = |row: &Item| {
            let key = text(row, sort)?;
            key.strip_prefix(list.prefix).map(str::to_owned)
        };
        let mut rows: Vec<Item> = Vec::new();
        let mut size = 0;
        // One more than wanted tells whether there is a next page.
        while let Some(row) = reader.next(wanted + 1 - rows.len()).await? {
            size += large::size(&row)?;
            if rows.len() == wanted || (size > MAX_PAGE_BYTES && !rows.is_empty()) {
                let next_cursor = rows.last().and_then(cursor);
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
    async fn items(&self, table: &str, keys: &[Item]) -> Result<HashMap<(String, String), Item>> {
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
            let output = sent(call.send()).await.map_err(aws_error)?;
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

    /// Passes over the first `count` rows; `false` when there are not more than that.
    async fn skip(&self, reader: &mut Reader<'_>, count: u32) -> Result<bool> {
        if let [shard] = &mut reader.merge.shards[..] {
            // What is skipped is not carried here: only the last key of it is.
            let mut left = count;
            while left > 0 {
                let Some(query) = self.query(reader.list, shard.partition, None) else {
                    return Ok(false);
                };
                let query = query
                    .select(Select::Count)
                    .limit(i32::try_from(left).unwrap_or(i32::MAX))
                    .set_exclusive_start_key(shard.start.take());
                let output = sent(query.send()).await.map_err(aws_error)?;
                left = left.saturating_sub(u32::try_from(output.count).unwrap_or(0));
                shard.start = output.last_evaluated_key;
                if shard.start.is_none() {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        for left in (1..=count).rev() {
            if reader.next(left as usize).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
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
fn place(row: &Item) -> (String, String) {
    let part = |name| text(row, name).unwrap_or_default().to_owned();
    (part(PARTITION), part(SORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(keys: &[&str], is_read: bool) -> Shard<'static> {
        let row =
            |key: &&str| Item::from([(SORT.to_owned(), AttributeValue::S((*key).to_owned()))]);
        Shard {
            partition: "",
            rows: keys.iter().map(row).collect(),
            start: None,
            is_read,
        }
    }

    fn popped(merge: &mut Merge<'_>) -> Vec<String> {
        let rows = std::iter::from_fn(|| merge.pop());
        rows.map(|row| text(&row, SORT).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn partitions_are_one_list_in_which_no_row_is_twice() {
        let mut merge = Merge {
            sort: SORT,
            shards: vec![
                shard(&["9", "5", "4", "1"], true),
                shard(&["8", "5"], false),
                shard(&[], true),
            ],
            last: Some("9".to_owned()),
        };
        // What comes below 5 in the second one is not known yet.
        assert_eq!(popped(&mut merge), ["8", "5"]);
        merge.shards[1] = shard(&["3", "1"], true);
        assert_eq!(popped(&mut merge), ["4", "3", "1"]);
    }
}
