//! Entities that are too large for an item.
//!
//! DynamoDB takes 400 KB an item and 4 MB a transaction. What belongs to a run may be larger: above [`IN_ITEM`] its JSON goes
//! to S3, and the item has a reference in place of `data`: key, length, digest. Readers put the text back, so no code
//! beyond this file knows where it was; an object that is gone or is not what was written is an internal error, never a value.
//!
//! * An object is put before the transaction that names it, under a key that was never used, and is not changed after.
//! * Keys are ids of ours: `v/<workspace>/<run>/<random>`, so that one prefix names all objects of a workspace, or of a run.
//!   Readers take a key only from an item, which was read under its tenant's partition key.
//! * A transaction that has certainly not happened takes its objects back. When that is not certain, or the process ends in
//!   between, an object may stay that no item names: it cannot be read, and costs only its storage.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use domain::digest::sha256_hex;
use domain::ids::{RunId, WorkspaceId};
use domain::payload::escaped_len;
use domain::{Error, Result};
use futures::future::{BoxFuture, join_all};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Store;
use crate::attributes::{DATA, REFERENCE};
use crate::aws_calls::{Call, aws_error};
use crate::item::{Item, NewItem, Object, log_unreadable, number, text};
use crate::packing::ESCAPED_LEN;

/// The longest `data` that an item holds itself, in bytes.
const IN_ITEM: usize = 100 * 1024;
/// The number of objects that are put or read side by side.
const AT_ONCE: usize = 8;
/// The time that a transfer may take besides what its bytes take.
const LATENCY: Duration = Duration::from_secs(5);
/// The slowest transfer that is waited for, in bytes a millisecond. S3 is a hundred times as fast where all goes well.
const SLOWEST: u64 = 1_000;
/// The number of times that a put is tried.
const PUT_ATTEMPTS: u32 = 2;

/// The place of an item's `data`.
#[derive(Debug, Serialize, Deserialize)]
struct Reference {
    key: String,
    bytes: usize,
    /// The size that counts in a response.
    #[serde(rename = "carried")]
    escaped_len: usize,
    sha256: String,
}

/// The owner of large values: the prefix of their objects' keys, by which they are removed with it.
#[derive(Clone, Debug)]
pub(crate) struct LargeOwner(String);

impl LargeOwner {
    pub(crate) fn run(workspace: WorkspaceId, run: RunId) -> Self {
        Self(objects_of_run(workspace, run))
    }
}

impl NewItem {
    /// Lets the entity, which belongs to `owner`, be larger than an item may be. A smaller one is compressed where that is cheaper.
    pub(crate) fn may_be_large(mut self, owner: &LargeOwner) -> Self {
        let is_large = text(&self.item, DATA).is_some_and(|data| data.len() > IN_ITEM);
        if is_large && let Some(AttributeValue::S(body)) = self.item.remove(DATA) {
            let name = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
            let reference = Reference {
                key: format!("{}{name}", owner.0),
                bytes: body.len(),
                escaped_len: escaped_len(&body),
                sha256: sha256_hex(&body),
            };
            let place = AttributeValue::S(json!(reference).to_string());
            self.item.insert(REFERENCE.to_owned(), place);
            self.object = Some(Object {
                key: reference.key,
                body,
            });
            return self;
        }
        self.packed()
    }
}

/// The prefix of the keys of all objects of a workspace.
pub(crate) fn objects_of_workspace(workspace: WorkspaceId) -> String {
    format!("v/{workspace}/")
}

/// The prefix of the keys of all objects of a run.
pub(crate) fn objects_of_run(workspace: WorkspaceId, run: RunId) -> String {
    format!("{}{run}/", objects_of_workspace(workspace))
}

/// The size of an item's entity that counts in a response.
pub(crate) fn size(item: &Item) -> Result<usize> {
    match reference(item)? {
        Some(reference) => Ok(reference.escaped_len),
        None => Ok(match text(item, DATA) {
            Some(json) => escaped_len(json),
            None => usize::try_from(number(item, ESCAPED_LEN)).unwrap_or(0),
        }),
    }
}

impl Store {
    /// Puts the objects of a transaction that is about to happen.
    pub(crate) async fn put_objects(&self, objects: &[Object]) -> Result<()> {
        let puts: Vec<_> = objects
            .iter()
            .map(|object| self.put_object(object))
            .collect();
        stream::iter(puts)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    fn put_object<'a>(&'a self, object: &'a Object) -> BoxFuture<'a, Result<()>> {
        let put = self
            .s3
            .put_object()
            .bucket(&*self.bucket)
            .key(&object.key)
            .content_type("application/json")
            .body(ByteStream::from(object.body.clone().into_bytes()));
        let attempt = transfer_time(object.body.len());
        let limits = TimeoutConfig::builder()
            .operation_attempt_timeout(attempt)
            .operation_timeout(attempt * PUT_ATTEMPTS);
        let limited = aws_sdk_s3::Config::builder().timeout_config(limits.build());
        let put = put.customize().config_override(limited);
        Box::pin(async move { put.send().await.map(drop).map_err(aws_error) })
    }

    /// Takes back the objects of a transaction that has not happened, as far as that goes.
    pub(crate) async fn delete_objects(&self, objects: &[Object]) {
        let deletes = objects.iter().map(|object| {
            let delete = self.s3.delete_object().bucket(&*self.bucket);
            delete.key(&object.key).sent()
        });
        for error in join_all(deletes).await.into_iter().filter_map(Result::err) {
            let error = aws_error(error);
            tracing::warn!(%error, "an object stays that nothing names");
        }
    }

    /// The items with everything that belongs to them.
    pub(crate) async fn resolve_objects(&self, items: Vec<Item>) -> Result<Vec<Item>> {
        if !items.iter().any(|item| item.contains_key(REFERENCE)) {
            return Ok(items);
        }
        let whole: Vec<_> = items
            .into_iter()
            .map(|item| self.whole_item(item))
            .collect();
        stream::iter(whole).buffered(AT_ONCE).try_collect().await
    }

    /// Like [`Self::whole`], for the rows of a list. One whose object is gone or changed comes without its `data`.
    pub(crate) async fn whole_rows(&self, items: Vec<Item>) -> Result<Vec<Item>> {
        if !items.iter().any(|item| item.contains_key(REFERENCE)) {
            return Ok(items);
        }
        let rows = items.into_iter().map(async |item| {
            if !item.contains_key(REFERENCE) {
                return Ok(item);
            }
            match self.whole_item(item.clone()).await {
                Err(error) if !error.is_retryable() => {
                    log_unreadable(&item, &error);
                    Ok(item)
                }
                whole => whole,
            }
        });
        let rows: Vec<_> = rows.collect();
        stream::iter(rows).buffered(AT_ONCE).try_collect().await
    }

    fn whole_item(&self, mut item: Item) -> BoxFuture<'_, Result<Item>> {
        Box::pin(async move {
            if let Some(reference) = reference(&item)? {
                let body = self.read(&reference).await?;
                item.insert(DATA.to_owned(), AttributeValue::S(body));
            }
            Ok(item)
        })
    }

    async fn read(&self, reference: &Reference) -> Result<String> {
        let get = self.s3.get_object().bucket(&*self.bucket);
        let object = get.key(&reference.key).sent().await.map_err(aws_error)?;
        let changed = || Error::internal(format!("{} is not what was written", reference.key));
        let length = object.content_length().unwrap_or_default();
        if usize::try_from(length) != Ok(reference.bytes) {
            return Err(changed());
        }
        // The SDK's own limits end with the head of the answer.
        let body = tokio::time::timeout(transfer_time(reference.bytes), object.body.collect());
        let body = body.await.map_err(Error::unavailable)?;
        let body = body.map_err(Error::unavailable)?;
        let body = String::from_utf8(body.to_vec()).map_err(|_| changed())?;
        if sha256_hex(&body) == reference.sha256 {
            Ok(body)
        } else {
            Err(changed())
        }
    }
}

/// The time that so many bytes may take to or from S3.
fn transfer_time(bytes: usize) -> Duration {
    LATENCY + Duration::from_millis(u64::try_from(bytes).unwrap_or(u64::MAX) / SLOWEST)
}

fn reference(item: &Item) -> Result<Option<Reference>> {
    let reference = text(item, REFERENCE).map(serde_json::from_str);
    reference.transpose().map_err(Error::internal)
}
