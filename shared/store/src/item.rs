//! Items and entities: writing and reading. And what AWS's errors mean to the domain.

use std::collections::HashMap;
use std::future::Future;
use std::sync::LazyLock;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use domain::payload;
use domain::{Error, Result};
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Store;
use crate::keys::{IndexKey, Key, PARTITION, SORT};

/// A text that must be in S3 before its item is written.
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) body: String,
}

pub(crate) type Item = HashMap<String, AttributeValue>;

/// An item in the making.
pub(crate) struct NewItem {
    pub(crate) item: Item,
    /// What of it must be in S3 first.
    pub(crate) object: Option<Object>,
}

impl NewItem {
    /// `entity` under `key`, as an item of this `kind`.
    pub(crate) fn new(key: Key, kind: &str, entity: &impl Serialize) -> Result<Self> {
        let mut item = key.attributes();
        item.insert("type".to_owned(), AttributeValue::S(kind.to_owned()));
        item.insert(
            "data".to_owned(),
            AttributeValue::S(serde_json::to_string(entity).map_err(Error::internal)?),
        );
        Ok(Self { item, object: None })
    }

    pub(crate) fn indexed(mut self, place: IndexKey) -> Self {
        self.item.insert(
            place.index.partition().to_owned(),
            AttributeValue::S(place.key.partition),
        );
        self.item.insert(
            place.index.sort().to_owned(),
            AttributeValue::S(place.key.sort),
        );
        self
    }

    pub(crate) fn indexed_if(self, place: Option<IndexKey>) -> Self {
        match place {
            Some(place) => self.indexed(place),
            None => self,
        }
    }

    pub(crate) fn number(mut self, name: &str, value: impl ToString) -> Self {
        self.item
            .insert(name.to_owned(), AttributeValue::N(value.to_string()));
        self
    }

    pub(crate) fn text_if(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.item
                .insert(name.to_owned(), AttributeValue::S(value.to_owned()));
        }
        self
    }

    /// When DynamoDB may forget the item, in Unix seconds.
    pub(crate) fn expires(self, at: chrono::DateTime<chrono::Utc>) -> Self {
        self.number("expires", at.timestamp())
    }
}

/// Reads the entity of an item.
pub(crate) fn entity<T: DeserializeOwned>(item: &Item) -> Result<T> {
    let data = item
        .get("data")
        .and_then(|value| value.as_s().ok())
        .ok_or_else(|| Error::internal("an item without data"))?;
    payload::read(data.as_bytes()).map_err(Error::internal)
}

/// What `read` makes of an item; `None`, and a line in the log, for one that cannot be read.
pub(crate) fn readable<T>(item: &Item, read: impl Fn(&Item) -> Result<T>) -> Option<T> {
    read(item)
        .inspect_err(|error| log_unreadable(item, error))
        .ok()
}

/// Tells of a row that a list goes without.
pub(crate) fn log_unreadable(item: &Item, error: &Error) {
    let source = std::error::Error::source(error).map(tracing::field::display);
    let (partition, sort) = (text(item, PARTITION), sort_key(item));
    tracing::error!(item.partition = partition, item.sort = sort, %error, source, "a stored row cannot be read");
}

/// A number beside the entity; 0 when absent. Sums that have outgrown the type count as its largest.
pub(crate) fn number(item: &Item, name: &str) -> i64 {
    let Some(text) = item.get(name).and_then(|value| value.as_n().ok()) else {
        return 0;
    };
    match text.parse() {
        Ok(number) => number,
        Err(_) if text.starts_with('-') => i64::MIN,
        Err(_) => i64::MAX,
    }
}

pub(crate) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
}

pub(crate) fn sort_key(item: &Item) -> &str {
    text(item, SORT).unwrap_or_default()
}

/// What a failed call means: worth trying again, or a defect of ours.
pub(crate) fn aws_error<E, R>(error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let retryable = match &error {
        SdkError::ServiceError(service) => matches!(
            service.err().code(),
            Some(
                "ProvisionedThroughputExceededException"
                    | "RequestLimitExceeded"
                    | "ThrottlingException"
                    | "InternalServerError"
                    | "TransactionInProgressException"
                    | "TransactionConflictException"
                    // S3's
                    | "InternalError"
                    | "RequestTimeout"
                    | "ServiceUnavailable"
                    | "SlowDown"
            )
        ),
        SdkError::ConstructionFailure(_) => false,
        _ => true,
    };
    let text = DisplayErrorContext(&error).to_string();
    if retryable {
        Error::unavailable(text)
    } else {
        Error::internal(text)
    }
}

/// The stored item that kept a conditional write from happening, where the call asked for it; an empty one otherwise.
pub(crate) fn condition_failure<T: ConditionalWrite, R>(error: &SdkError<T, R>) -> Option<&Item> {
    static NONE: LazyLock<Item> = LazyLock::new(Item::new);
    match error {
        SdkError::ServiceError(error) => error
            .err()
            .refusal()
            .map(|refusal| refusal.item.as_ref().unwrap_or(&NONE)),
        _ => None,
    }
}

/// A call's error that can mean that its condition did not hold.
pub(crate) trait ConditionalWrite {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException>;
}

impl ConditionalWrite for PutItemError {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl ConditionalWrite for UpdateItemError {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl ConditionalWrite for DeleteItemError {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Which write of an item this is, counted from 1.
pub(crate) fn revision(item: &Item) -> u64 {
    u64::try_from(number(item, "revision")).unwrap_or(0)
}

/// A call on its way. The SDK's futures have kilobytes: unboxed, every future above them would carry as many, often several times.
pub(crate) fn boxed<'a, T>(call: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    Box::pin(call)
}

/// The lowest sort key that begins with `prefix`. DynamoDB takes no empty key, and '!' sorts before all of ours.
pub(crate) fn low(prefix: &str) -> String {
    if prefix.is_empty() {
        "!".to_owned()
    } else {
        prefix.to_owned()
    }
}

impl Store {
    pub(crate) async fn get_item(&self, table: &str, key: &Key) -> Result<Option<Item>> {
        let get = self
            .dynamodb
            .get_item()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .consistent_read(true);
        Ok(boxed(get.send()).await.map_err(aws_error)?.item)
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
            let output = boxed(query.send()).await.map_err(aws_error)?;
            items.extend(output.items.unwrap_or_default());
            start = output.last_evaluated_key;
            if start.is_none() {
                return self.resolve_objects(items).await;
            }
        }
    }
}
