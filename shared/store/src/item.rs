//! Items and entities: writing, reading, listing. And what AWS's errors mean to the domain.

use std::collections::HashMap;
use std::future::Future;
use std::sync::LazyLock;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use domain::page::{Page, PageRequest, REACH};
use domain::payload;
use domain::{Error, Result};
use futures::future::{BoxFuture, try_join};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Store;
use crate::keys::{Index, IndexKey, Key, PARTITION, SORT};
use crate::large::{self, Object};

/// Where a page ends early, in bytes of entities as responses carry them: Lambda answers with 6 MB at most.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

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
pub(crate) fn refused_by<T: ConditionalWrite, R>(error: &SdkError<T, R>) -> Option<&Item> {
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
pub(crate) fn sent<'a, T>(call: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    Box::pin(call)
}

/// A list: a partition of a table or index, newest first, whose sort keys are ids behind an optional prefix.
pub(crate) struct List<'a> {
    pub(crate) table: &'a str,
    pub(crate) index: Option<Index>,
    pub(crate) partition: String,
    /// What every sort key begins with.
    pub(crate) prefix: &'a str,
    /// Bounds within the prefix, both inclusive; ids of the oldest and the newest row wanted.
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
}

impl<'a> List<'a> {
    pub(crate) fn new(table: &'a str, partition: String) -> Self {
        Self {
            table,
            index: None,
            partition,
            prefix: "",
            from: None,
            to: None,
        }
    }

    pub(crate) fn of_index(table: &'a str, index: Index, partition: String) -> Self {
        Self {
            index: Some(index),
            ..Self::new(table, partition)
        }
    }

    /// The id of a row, as a cursor has it.
    fn id_in(&self, item: &Item) -> Option<String> {
        let sort = text(item, self.index.map_or(SORT, Index::sort))?;
        sort.strip_prefix(self.prefix).map(str::to_owned)
    }

    /// The key condition and its values. A cursor is the id of the last row seen, so what follows lies strictly below it;
    /// being only a part of a sort key, it can never lead into another tenant's partition.
    ///
    /// `None` when nothing lies between the bounds: DynamoDB refuses a lower bound above the upper one.
    fn condition(&self, cursor: Option<&str>) -> Option<(String, Vec<(&'static str, String)>)> {
        let (partition, sort) = self
            .index
            .map_or((PARTITION, SORT), |index| (index.partition(), index.sort()));
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
        let values = vec![
            (":partition", self.partition.clone()),
            (":low", low),
            (":high", high),
        ];
        Some((
            format!("{partition} = :partition AND {sort} BETWEEN :low AND :high"),
            values,
        ))
    }
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
        Ok(sent(get.send()).await.map_err(aws_error)?.item)
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

    /// Reads one page of a list. `id_of` names the row for the cursor. A page ends early, with a cursor, before it outgrows
    /// what a Lambda may answer. A row that cannot be read is left out and logged: it does not hide the others.
    pub(crate) async fn page<T>(
        &self,
        list: &List<'_>,
        request: &PageRequest,
        read: impl Fn(&Item) -> Result<T>,
        id_of: impl Fn(&T) -> String,
    ) -> Result<Page<T>> {
        let total = self.total(list, request.wants_total);
        let ((items, more), total) = try_join(self.rows(list, request), total).await?;
        let items = self.whole_rows(items).await?;
        let mut rows = Vec::with_capacity(items.len());
        let mut last = None;
        for item in &items {
            match read(item) {
                Ok(row) => {
                    last = Some(id_of(&row));
                    rows.push(row);
                }
                Err(error) => {
                    last = list.id_in(item);
                    log_unreadable(item, &error);
                }
            }
        }
        let next_cursor = last.filter(|_| more);
        Ok(Page {
            items: rows,
            next_cursor,
            total,
        })
    }

    /// The rows of a page, and whether there are more.
    async fn rows(&self, list: &List<'_>, request: &PageRequest) -> Result<(Vec<Item>, bool)> {
        let mut start = match request.offset {
            0 => None,
            // What is skipped is not carried here: only the last key of it is.
            offset => match self.skip(list, offset).await? {
                Some(key) => Some(key),
                None => return Ok((Vec::new(), false)),
            },
        };
        let cursor = request.cursor.as_deref();
        let seen = cursor.map(|cursor| format!("{}{cursor}", list.prefix));
        let sort = list.index.map_or(SORT, Index::sort);
        let wanted = request.limit.get() as usize;
        let mut items: Vec<Item> = Vec::new();
        let mut size = 0;
        loop {
            // One more than wanted tells whether there is a next page; the cursor's own row is inside the bounds as well.
            let limit = wanted + 1 - items.len() + usize::from(cursor.is_some());
            let Some(query) = self.query(list, cursor) else {
                return Ok((Vec::new(), false));
            };
            let query = query
                .consistent_read(list.index.is_none())
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            let output = sent(query.send()).await.map_err(aws_error)?;
            for item in output.items.unwrap_or_default() {
                if seen.is_some() && text(&item, sort) == seen.as_deref() {
                    continue;
                }
                size += large::size(&item)?;
                if items.len() == wanted || (size > MAX_PAGE_BYTES && !items.is_empty()) {
                    return Ok((items, true));
                }
                items.push(item);
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok((items, false));
            }
        }
    }

    /// The key of the last of the first `count` rows; `None` when there are not more than that.
    async fn skip(&self, list: &List<'_>, count: u32) -> Result<Option<Item>> {
        let mut left = count;
        let mut start = None;
        while left > 0 {
            let Some(query) = self.query(list, None) else {
                return Ok(None);
            };
            let query = query
                .select(Select::Count)
                .limit(i32::try_from(left).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            let output = sent(query.send()).await.map_err(aws_error)?;
            left = left.saturating_sub(u32::try_from(output.count).unwrap_or(0));
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(None);
            }
        }
        Ok(start)
    }

    /// A query for a list, newest first; `None` when its bounds leave no room.
    fn query(&self, list: &List<'_>, cursor: Option<&str>) -> Option<QueryFluentBuilder> {
        let (condition, values) = list.condition(cursor)?;
        let mut query = self
            .dynamodb
            .query()
            .table_name(list.table)
            .set_index_name(list.index.map(|index| index.name().to_owned()))
            .key_condition_expression(condition)
            .scan_index_forward(false);
        for (name, value) in values {
            query = query.expression_attribute_values(name, AttributeValue::S(value));
        }
        Some(query)
    }

    async fn total(&self, list: &List<'_>, wanted: bool) -> Result<Option<u32>> {
        if !wanted {
            return Ok(None);
        }
        let mut total = 0;
        let mut start = None;
        loop {
            let Some(query) = self.query(list, None) else {
                return Ok(Some(0));
            };
            let query = query
                .select(Select::Count)
                .limit(i32::try_from(REACH - total).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            let output = sent(query.send()).await.map_err(aws_error)?;
            total += u32::try_from(output.count).unwrap_or(0);
            start = output.last_evaluated_key;
            if start.is_none() || total >= REACH {
                return Ok(Some(total.min(REACH)));
            }
        }
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
            let output = sent(query.send()).await.map_err(aws_error)?;
            items.extend(output.items.unwrap_or_default());
            start = output.last_evaluated_key;
            if start.is_none() {
                return self.whole(items).await;
            }
        }
    }
}
