//! Consistent reads of single items and of whole partitions.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::Result;
use serde::de::DeserializeOwned;

use crate::Store;
use crate::aws_calls::{Call, aws_error};
use crate::item::{Item, entity};
use crate::keys::{Key, PARTITION, SORT, low};
use crate::pages::place;

impl Store {
    pub(crate) async fn get_item(&self, table: &str, key: &Key) -> Result<Option<Item>> {
        let get = self
            .dynamodb
            .get_item()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .consistent_read(true);
        Ok(get.sent().await.map_err(aws_error)?.item)
    }

    /// Several items in one call.
    pub(crate) async fn get_items<const N: usize>(
        &self,
        table: &str,
        keys: [Key; N],
    ) -> Result<[Option<Item>; N]> {
        let wanted = keys.map(|key| key.attributes());
        let mut items = self.items(table, &wanted).await?;
        Ok(wanted.map(|key| items.remove(&place(&key))))
    }

    pub(crate) async fn get_entity<T: DeserializeOwned>(
        &self,
        table: &str,
        key: &Key,
    ) -> Result<Option<T>> {
        self.get_item(table, key)
            .await?
            .as_ref()
            .map(entity)
            .transpose()
    }

    /// All rows of a partition, whole, from the first sort key that begins with `first` to the last that begins with `last`, in order.
    pub(crate) async fn collection(
        &self,
        table: &str,
        partition: &str,
        first: &str,
        last: &str,
    ) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let query = self
                .dynamodb
                .query()
                .table_name(table)
                .key_condition_expression(format!(
                    "{PARTITION} = :partition AND {SORT} BETWEEN :low AND :high"
                ))
                .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()))
                .expression_attribute_values(":low", AttributeValue::S(low(first)))
                .expression_attribute_values(":high", AttributeValue::S(format!("{last}~")))
                .consistent_read(true)
                .set_exclusive_start_key(start);
            let output = query.sent().await.map_err(aws_error)?;
            items.extend(output.items.unwrap_or_default());
            start = output.last_evaluated_key;
            if start.is_none() {
                return self.resolve_objects(items).await;
            }
        }
    }
}
