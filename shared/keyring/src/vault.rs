//! Sealing what is stored, and opening it again.
//!
//! Everything is sealed with data keys, which are stored wrapped by the master secret (envelope encryption). The first instance that
//! reads them after a rotation wraps them anew. The tick reads them within minutes, also when there are no requests.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Error, Result};
use futures::future::try_join;
use runtime::{MasterKeys, Services};
use store::{Store, WrappedDataKey, WrappedDataKeys};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::data_keys::{DataKey, DataKeys, Found};

/// The time that the data keys serve before they are read again.
const FRESH_FOR: TimeDelta = TimeDelta::minutes(5);
/// The time after which they may be read again when one is missing.
const READ_AT_MOST_EVERY: TimeDelta = TimeDelta::seconds(10);
/// The time that clocks of instances may be apart, by which a key can look older than it is.
const LARGEST_SKEW: TimeDelta = TimeDelta::minutes(1);
/// The number of times that reading them is tried while others write them.
const ATTEMPTS: u32 = 5;

/// Seals and opens. It is cheap to clone, and clones share what they have read.
#[derive(Clone)]
pub struct Vault {
    services: Services,
    store: Store,
    cached: Arc<Mutex<Option<Read>>>,
}

/// The outcome of the last read of the data keys.
#[derive(Clone)]
struct Read {
    at: DateTime<Utc>,
    /// `true` if they were read then; else they are older ones, which serve on.
    is_answered: bool,
    keys: Arc<DataKeys>,
}

impl Vault {
    pub fn new(services: Services, store: Store) -> Self {
        Self {
            services,
            store,
            cached: Arc::default(),
        }
    }

    /// Encrypts `text` for `purpose`. `context`, the tenant and record that it belongs to, must be given again to open it.
    pub async fn seal(&self, purpose: &str, context: &str, text: &[u8]) -> Result<String> {
        let read = self.keys(FRESH_FOR).await?;
        read.keys.seal(purpose, context, text)
    }

    /// The value that [`Self::seal`] was given; `None` when it was sealed for something else, or with a key that is lost.
    ///
    /// # Errors
    /// `Unavailable` when the keys cannot be read now, or the key may be one that this instance has not read yet.
    pub async fn open(
        &self,
        purpose: &str,
        context: &str,
        sealed: &str,
    ) -> Result<Option<Vec<u8>>> {
        let opened = self
            .with(|keys| keys.open(purpose, context, sealed))
            .await?;
        Ok(opened.flatten())
    }

    /// A keyed hash of `text` for `purpose`: what may be stored of a text that could be guessed.
    pub async fn mac(&self, purpose: &str, text: &[u8]) -> Result<String> {
        self.keys(FRESH_FOR).await?.keys.mac(purpose, text)
    }

    /// Returns `true` if `expected` is the keyed hash of `text`; `None` when it was made with a key that is lost.
    ///
    /// # Errors
    /// `Unavailable` when the keys cannot be read now, or the key may be one that this instance has not read yet.
    pub async fn verify_mac(
        &self,
        purpose: &str,
        text: &[u8],
        expected: &str,
    ) -> Result<Option<bool>> {
        self.with(|keys| keys.verify_mac(purpose, text, expected))
            .await
    }

    /// Makes sure that the data keys are wrapped by the master secret as it is now. This costs a read once in five minutes.
    ///
    /// # Errors
    /// The data keys could not be read, or not be written.
    pub async fn keep_wrapped(&self) -> Result<()> {
        let mut cached = self.cached.lock().await;
        let now = self.services.clock.now();
        if !cached
            .as_ref()
            .is_some_and(|read| read.is_within(now, FRESH_FOR))
        {
            *cached = Some(Read {
                at: now,
                is_answered: true,
                keys: Arc::new(Box::pin(self.read()).await?),
            });
        }
        Ok(())
    }

    /// The result of `ask` with the data keys; `None` when the key that it needs is lost. They are read again when this instance does
    /// not know that key.
    async fn with<T>(&self, ask: impl Fn(&DataKeys) -> Found<T>) -> Result<Option<T>> {
        for age in [FRESH_FOR, READ_AT_MOST_EVERY] {
            let read = self.keys(age).await?;
            match ask(&read.keys) {
                Found::Known(known) => return Ok(Some(known)),
                Found::UnknownKey(Some(id)) if age == READ_AT_MOST_EVERY && read.may_miss(id) => {
                    return Err(Error::unavailable("the data key has not been read yet"));
                }
                Found::UnknownKey(_) => {}
            }
        }
        Ok(None)
    }

    async fn keys(&self, age: TimeDelta) -> Result<Read> {
        let mut cached = self.cached.lock().await;
        let now = self.services.clock.now();
        if let Some(read) = cached.as_ref().filter(|read| read.is_within(now, age)) {
            return Ok(read.clone());
        }
        let (keys, is_answered) = match (Box::pin(self.read()).await, &*cached) {
            (Ok(keys), _) => (Arc::new(keys), true),
            (Err(error), Some(old)) => {
                tracing::warn!(%error, "the data keys could not be read again");
                (old.keys.clone(), false)
            }
            (Err(error), None) => return Err(error),
        };
        let read = Read {
            at: now,
            is_answered,
            keys,
        };
        *cached = Some(read.clone());
        Ok(read)
    }

    async fn read(&self) -> Result<DataKeys> {
        for _ in 0..ATTEMPTS {
            let masters = async {
                let masters = self.services.secrets.renewed_master_keys().await;
                masters.map_err(Error::unavailable)
            };
            let (masters, stored) = try_join(masters, self.store.data_keys()).await?;
            let stored = stored.unwrap_or_default();
            let (keys, wanted) = self.brought_up_to_date(&stored, &masters).await?;
            let Some(wanted) = wanted else {
                return Ok(keys);
            };
            match self.store.put_data_keys(&wanted).await {
                Ok(()) => return Ok(keys),
                // Another instance has written them: they are read again.
                Err(Error::Conflict(_)) => {}
                // They stay wrapped as they are, and are wrapped anew at the next time.
                Err(error) if stored.keys.len() == wanted.keys.len() => {
                    tracing::warn!(%error, "the data keys were not wrapped anew");
                    return Ok(keys);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable("the data keys kept being written"))
    }

    /// The data keys, and how they should be stored, if not as they are.
    async fn brought_up_to_date(
        &self,
        stored: &WrappedDataKeys,
        masters: &MasterKeys,
    ) -> Result<(DataKeys, Option<WrappedDataKeys>)> {
        let now = self.services.clock.now();
        let current = &masters.current.id;
        let mut keys = Vec::new();
        let mut rows = Vec::new();
        let mut is_rotated = false;
        for wrapped in &stored.keys {
            match self.unwrap(wrapped, masters).await? {
                Some(key) if wrapped.wrapped.contains_key(current) => {
                    keys.push(key);
                    rows.push(wrapped.clone());
                }
                Some(key) => {
                    is_rotated = true;
                    rows.push(key.wrapped_by(masters)?);
                    keys.push(key);
                }
                // It stays: its version of the master secret may come back.
                None => {
                    let id = wrapped.id;
                    tracing::error!(data_key.id = %id, metric = "data_keys_failed", "no version of the master secret opens this data key");
                    rows.push(wrapped.clone());
                }
            }
        }
        let needs_another = match keys.last() {
            None => true,
            Some(newest) => is_rotated && newest.has_served(now),
        };
        if needs_another {
            let key = DataKey::generate(now);
            rows.push(key.wrapped_by(masters)?);
            keys.push(key);
        }
        let wanted = (is_rotated || needs_another).then_some(WrappedDataKeys {
            keys: rows,
            revision: stored.revision,
        });
        Ok((DataKeys { keys }, wanted))
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedDataKey,
        masters: &MasterKeys,
    ) -> Result<Option<DataKey>> {
        let known = masters.iter();
        if let Some(key) = known
            .filter_map(|master| DataKey::unwrapped(wrapped, master))
            .next()
        {
            return Ok(Some(key));
        }
        for id in wrapped.wrapped.keys() {
            let earlier = self.services.secrets.earlier_master_key(id).await;
            let earlier = earlier.map_err(Error::unavailable)?;
            if let Some(key) = earlier.and_then(|earlier| DataKey::unwrapped(wrapped, &earlier)) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}

impl Read {
    fn is_within(&self, now: DateTime<Utc>, age: TimeDelta) -> bool {
        (now - self.at).abs() < age
    }

    /// Returns `true` if there may be a key of this id all the same: the keys could not be read, or it is younger than what was read.
    fn may_miss(&self, id: Uuid) -> bool {
        let created = id.get_timestamp().map(|timestamp| timestamp.to_unix().0);
        let read = (self.at - LARGEST_SKEW).timestamp();
        !self.is_answered
            || created
                .is_some_and(|created| i64::try_from(created).is_ok_and(|created| created >= read))
    }
}
