//! The steps of every removal. Its methods say `false` when the time was over before their end.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use domain::{Error, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::Store;
use crate::aws_calls::{Call, aws_error};
use crate::deletions::key_of;
use crate::keys::{Key, PARTITION, SORT};

/// The number of things that are removed at a time.
const CONCURRENCY: usize = 8;

/// One way through everything that there is to remove.
pub(super) struct Pass<'a> {
    pub(super) store: &'a Store,
    until: Instant,
    removed: AtomicUsize,
}

impl<'a> Pass<'a> {
    pub(super) fn new(store: &'a Store, until: Instant) -> Self {
        Self {
            store,
            until,
            removed: AtomicUsize::new(0),
        }
    }

    pub(super) fn found_nothing(&self) -> bool {
        self.removed.load(Ordering::Relaxed) == 0
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    pub(super) fn records(&self) -> &'a str {
        &self.store.tables.records
    }

    pub(super) fn logs(&self) -> &'a str {
        &self.store.tables.logs
    }

    pub(super) async fn keys(&self, table: &str, keys: Vec<Key>) -> Result<()> {
        self.removed.fetch_add(keys.len(), Ordering::Relaxed);
        self.store.remove_keys(table, keys).await
    }

    /// Removes a whole partition.
    pub(super) async fn partition(&self, table: &str, partition: &str) -> Result<bool> {
        loop {
            let page = self
                .store
                .partition_page(table, partition, &[PARTITION, SORT], None);
            let (items, next) = page.await?;
            self.keys(table, items.iter().filter_map(key_of).collect())
                .await?;
            if next.is_none() {
                return Ok(true);
            }
            if self.is_over() {
                return Ok(false);
            }
        }
    }

    /// Removes whole partitions, several at a time.
    pub(super) async fn partitions(&self, table: &str, partitions: Vec<String>) -> Result<bool> {
        let removals: Vec<_> = partitions
            .iter()
            .map(|partition| self.partition(table, partition))
            .collect();
        all(removals).await
    }

    /// Removes the objects whose keys begin with `prefix`, which ends with a slash; `alone`: none has another slash behind it.
    pub(super) async fn objects(&self, prefix: &str, alone: bool) -> Result<bool> {
        let (s3, bucket) = (&self.store.s3, &*self.store.bucket);
        loop {
            if self.is_over() {
                return Ok(false);
            }
            let list = s3
                .list_objects_v2()
                .bucket(bucket)
                .prefix(prefix)
                .set_delimiter(alone.then(|| "/".to_owned()));
            let listed = list.sent().await.map_err(aws_error)?;
            let objects = listed.contents.unwrap_or_default();
            if objects.is_empty() {
                return Ok(true);
            }
            self.removed.fetch_add(objects.len(), Ordering::Relaxed);
            let named = objects.into_iter().filter_map(|object| {
                let object = ObjectIdentifier::builder().set_key(object.key);
                object.build().ok()
            });
            let delete = Delete::builder()
                .set_objects(Some(named.collect()))
                .quiet(true)
                .build()
                .map_err(Error::internal)?;
            let delete = s3.delete_objects().bucket(bucket).delete(delete);
            let deleted = delete.sent().await.map_err(aws_error)?;
            if let Some(error) = deleted.errors().first() {
                let why = error.message().unwrap_or("no reason given").to_owned();
                return Err(Error::unavailable(format!(
                    "an object is not deleted: {why}"
                )));
            }
        }
    }
}

/// Returns `true` if all have come to their end.
pub(super) async fn all<F: Future<Output = Result<bool>>>(removals: Vec<F>) -> Result<bool> {
    stream::iter(removals)
        .buffer_unordered(CONCURRENCY)
        .try_fold(true, async |all, one| Ok(all && one))
        .await
}
