//! Items and the entities in them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::payload;
use domain::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attributes::{DATA, EXPIRES, PACKED, REVISION, TYPE};
use crate::deflate::unpack;
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
    /// The part that must be in S3 first.
    pub(crate) object: Option<Object>,
}

impl NewItem {
    /// `entity` under `key`, as an item of this `kind`.
    pub(crate) fn new(key: Key, kind: &str, entity: &impl Serialize) -> Result<Self> {
        let mut item = key.attributes();
        item.insert(TYPE.to_owned(), AttributeValue::S(kind.to_owned()));
        item.insert(
            DATA.to_owned(),
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

    /// The time when DynamoDB may forget the item, in Unix seconds.
    pub(crate) fn expires(self, at: chrono::DateTime<chrono::Utc>) -> Self {
        self.number(EXPIRES, at.timestamp())
    }
}

/// Reads the entity of an item.
pub(crate) fn entity<T: DeserializeOwned>(item: &Item) -> Result<T> {
    if let Some(json) = text(item, DATA) {
        return payload::read(json.as_bytes()).map_err(Error::internal);
    }
    let packed = item.get(PACKED).and_then(|value| value.as_b().ok());
    let packed = packed.ok_or_else(|| Error::internal("an item without data"))?;
    let json = unpack(packed.as_ref())?;
    payload::read(&json).map_err(Error::internal)
}

/// The result of `read` on an item; `None`, and a line in the log, for one that cannot be read.
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

/// The revision of an item: the number of its writes.
pub(crate) fn revision(item: &Item) -> u64 {
    u64::try_from(number(item, REVISION)).unwrap_or(0)
}
