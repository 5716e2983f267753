//! Reading keys page by page, and deleting items in batches: for jobs that go through everything.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};
use domain::{Error, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use rand::RngExt;

use crate::Store;
use crate::aws_calls::{Call, aws_error};
use crate::item::Item;
use crate::keys::{Index, Key, PARTITION, SORT, low};

/// The number of items that one call deletes: DynamoDB's limit.
const BATCH: usize = 25;
/// The number of calls that are under way at a time.
const CONCURRENCY: usize = 8;
/// The number of times that a batch is sent of which DynamoDB leaves something undone.
const ATTEMPTS: u32 = 8;
/// The number of rows that one query names.
const PAGE: i32 = 500;

impl Store {
    /// Deletes items by their keys, whether or not they are there.
    pub(crate) async fn remove_keys(&self, table: &str, keys: Vec<Key>) -> Result<()> {
        let batches: Vec<_> = keys
            .chunks(BATCH)
            .map(|batch| self.remove_batch(table, batch))
            .collect();
        stream::iter(batches)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn remove_batch(&self, table: &str, keys: &[Key]) -> Result<()> {
        let delete = |key: &Key| {
            let delete = DeleteRequest::builder().set_key(Some(key.attributes()));
            let delete = delete.build().map_err(Error::internal)?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        let mut left = keys.iter().map(delete).collect::<Result<Vec<_>>>()?;
        for attempt in 0..ATTEMPTS {
            let write = self.dynamodb.batch_write_item().request_items(table, left);
            let output = write.sent().await.map_err(aws_error)?;
            let unprocessed = output.unprocessed_items.unwrap_or_default();
            left = unprocessed.into_values().flatten().collect();
            if left.is_empty() {
                return Ok(());
            }
            let wait = rand::rng().random_range(1..=(20 << attempt));
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        Err(Error::unavailable(
            "DynamoDB kept leaving deletions of a batch undone",
        ))
    }

    /// A page of a partition and where the next page begins: these attributes, or all where none are named.
    pub(crate) async fn partition_page(
        &self,
        table: &str,
        partition: &str,
        attributes: &[&str],
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>)> {
        // Some are reserved words.
        let names = (0..).zip(attributes);
        let names: Vec<(String, String)> = names
            .map(|(position, name)| (format!("#a{position}"), (*name).to_owned()))
            .collect();
        let aliases: Vec<&str> = names.iter().map(|(alias, _)| alias.as_str()).collect();
        let projection = (!aliases.is_empty()).then(|| aliases.join(", "));
        let query = self
            .dynamodb
            .query()
            .table_name(table)
            .key_condition_expression(format!("{PARTITION} = :partition"))
            .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()))
            .set_projection_expression(projection)
            .set_expression_attribute_names(
                Some(names.into_iter().collect()).filter(|_| !attributes.is_empty()),
            )
            .consistent_read(true)
            .limit(PAGE)
            .set_exclusive_start_key(start);
        let output = query.sent().await.map_err(aws_error)?;
        Ok((output.items.unwrap_or_default(), output.last_evaluated_key))
    }

    /// The keys of a page of an index, of rows whose sort key begins with `prefix`, and where the next page begins.
    pub(crate) async fn index_page(
        &self,
        index: Index,
        partition: &str,
        prefix: &str,
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>)> {
        let sort = index.sort();
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name(index.name())
            .key_condition_expression(format!(
                "{} = :partition AND {sort} BETWEEN :low AND :high",
                index.partition()
            ))
            .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()))
            .expression_attribute_values(":low", AttributeValue::S(low(prefix)))
            .expression_attribute_values(":high", AttributeValue::S(format!("{prefix}~")))
            .projection_expression(format!("{PARTITION}, {SORT}, {sort}"))
            .limit(PAGE)
            .set_exclusive_start_key(start);
        let output = query.sent().await.map_err(aws_error)?;
        Ok((output.items.unwrap_or_default(), output.last_evaluated_key))
    }
}
