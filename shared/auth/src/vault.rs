//! Sealing what is stored, and opening it again.
//!
//! Everything is sealed with data keys, which are stored wrapped by the master secret (envelope encryption). The first instance that
//! reads them after a rotation wraps them anew. The tick reads them within minutes, also when there are no requests.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Error, Result};
use runtime::{MasterKeys, Services};
use store::{Store, WrappedDataKey, WrappedDataKeys};
use tokio::sync::Mutex;

use crate::data_keys::{DataKey, DataKeys, Found};

/// How long the data keys serve before they are read again.
const FRESH_FOR: TimeDelta = TimeDelta::minutes(5);
/// How soon they may be read again when one is missing.
const READ_AT_MOST_EVERY: TimeDelta = TimeDelta::seconds(10);
/// How often reading them is tried while others write them.
const ATTEMPTS: u32 = 5;

/// Seals and opens. It is cheap to clone, and clones share what they have read.
#[derive(Clone)]
pub struct Vault {
    services: Services,
    store: Store,
    cached: Arc<Mutex<Option<Read>>>,
}

/// The data keys, and when they were read.
type Read = (DateTime<Utc>, Arc<DataKeys>);

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
        self.keys(FRESH_FOR).await?.seal(purpose, context, text)
    }

    /// What [`Self::seal`] was given; `None` when it was sealed for something else, or with a key that is lost.
    ///
    /// # Errors
    /// `Unavailable` when the keys cannot be read now.
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
        self.keys(FRESH_FOR).await?.mac(purpose, text)
    }

    /// Whether `expected` is the keyed hash of `text`; `None` when it was made with a key that is lost.
    ///
    /// # Errors
    /// `Unavailable` when the keys cannot be read now.
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
        if !is_within(&cached, now, FRESH_FOR) {
            *cached = Some((now, Arc::new(self.read().await?)));
        }
        Ok(())
    }

    /// What `ask` finds with the data keys. They are read again when it needs a key that this instance does not know.
    async fn with<T>(&self, ask: impl Fn(&DataKeys) -> Found<T>) -> Result<Option<T>> {
        for age in [FRESH_FOR, READ_AT_MOST_EVERY] {
            if let Found::Known(known) = ask(&*self.keys(age).await?) {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    async fn keys(&self, age: TimeDelta) -> Result<Arc<DataKeys>> {
        let mut cached = self.cached.lock().await;
        let now = self.services.clock.now();
        if let Some((_, keys)) = &*cached
            && is_within(&cached, now, age)
        {
            return Ok(keys.clone());
        }
        let keys = match (self.read().await, &*cached) {
            (Ok(keys), _) => Arc::new(keys),
            (Err(error), Some((_, old))) => {
                tracing::warn!(%error, "the data keys could not be read again");
                old.clone()
            }
            (Err(error), None) => return Err(error),
        };
        *cached = Some((now, keys.clone()));
        Ok(keys)
    }

    async fn read(&self) -> Result<DataKeys> {
        for _ in 0..ATTEMPTS {
            let masters = self.services.secrets.renewed_master_keys().await;
            let masters = masters.map_err(Error::unavailable)?;
            let stored = self.store.data_keys().await?.unwrap_or_default();
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

fn is_within(read: &Option<Read>, now: DateTime<Utc>, age: TimeDelta) -> bool {
    let mut read = read.iter();
    read.any(|(at, _)| (now - *at).abs() < age)
}
