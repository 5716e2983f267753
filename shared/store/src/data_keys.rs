//! The data keys that stored values are sealed with, each wrapped by the master secret: one row for the platform.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::Result;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::item::{NewItem, entity, revision};
use crate::{Store, keys};

/// The data keys of the platform. The last of them is the one that seals.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WrappedDataKeys {
    pub keys: Vec<WrappedDataKey>,
    /// Counts writes of this row; a write names the one that it has seen.
    #[serde(skip)]
    pub revision: u64,
}

/// A data key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WrappedDataKey {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    /// The wrapped key, under the id of each version of the master secret that has wrapped it. Any one of them opens it.
    pub wrapped: BTreeMap<String, String>,
}

impl Store {
    pub async fn data_keys(&self) -> Result<Option<WrappedDataKeys>> {
        let item = self
            .get_item(&self.tables.records, &keys::data_keys())
            .await?;
        item.map(|item| {
            Ok(WrappedDataKeys {
                revision: revision(&item),
                ..entity(&item)?
            })
        })
        .transpose()
    }

    /// Replaces the data keys that were read at `keys.revision`; at 0 there were none.
    ///
    /// # Errors
    /// `Conflict` when another instance wrote them meanwhile.
    pub async fn put_data_keys(&self, keys: &WrappedDataKeys) -> Result<()> {
        let item = NewItem::new(keys::data_keys(), "data_keys", keys);
        let mut transaction = self.transaction();
        transaction.put_revision(item, Some(keys.revision).filter(|revision| *revision > 0));
        transaction.commit().await
    }
}
