//! The one secret that every key is derived from, read from Secrets Manager.

use std::sync::Arc;

use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_sdk_secretsmanager::operation::get_secret_value::builders::GetSecretValueFluentBuilder;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

use crate::Clock;

/// The time that a fetched secret serves before it is asked for again.
const FRESH_FOR: TimeDelta = TimeDelta::minutes(5);
/// The time after which it may be asked for again when it seems to have been rotated meanwhile.
const ASKED_AT_MOST_EVERY: TimeDelta = TimeDelta::seconds(10);

/// One version of the master secret.
#[derive(Clone)]
pub struct MasterKey {
    /// Names this version in whatever was signed or sealed with it.
    pub id: String,
    /// The secret text, from which the keys are derived.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MasterKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The version that signs and seals, and the one before it, which is still accepted.
#[derive(Clone, Debug)]
pub struct MasterKeys {
    pub current: MasterKey,
    pub previous: Option<MasterKey>,
}

impl MasterKeys {
    /// The current key and the previous one, if there is one.
    pub fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    pub fn find(&self, id: &str) -> Option<&MasterKey> {
        self.iter().find(|key| key.id == id)
    }
}

/// Fetches the master secret in init and keeps it for five minutes, so that a rotation reaches every instance.
#[derive(Clone)]
pub struct Secrets {
    client: aws_sdk_secretsmanager::Client,
    arn: String,
    clock: Clock,
    cached: Arc<Mutex<Option<Asked>>>,
}

/// The outcome of the last request for the keys.
struct Asked {
    at: DateTime<Utc>,
    /// `true` if the keys were read then; else they are older ones, which serve on.
    is_answered: bool,
    keys: Arc<MasterKeys>,
}

impl Secrets {
    pub(crate) fn new(client: aws_sdk_secretsmanager::Client, arn: String, clock: Clock) -> Self {
        Self {
            client,
            arn,
            clock,
            cached: Arc::default(),
        }
    }

    /// The master keys. Costs a round trip once in five minutes; when Secrets Manager fails then, the old ones serve on.
    pub async fn master_keys(&self) -> Result<Arc<MasterKeys>, crate::Error> {
        Ok(self.asked_within(FRESH_FOR).await?.0)
    }

    /// The master keys as they are now, for what may be of a version that this instance has not heard of. Costs a round trip
    /// once in ten seconds.
    pub async fn renewed_master_keys(&self) -> Result<Arc<MasterKeys>, crate::Error> {
        match self.asked_within(ASKED_AT_MOST_EVERY).await? {
            (keys, true) => Ok(keys),
            (_, false) => Err("the secret could not be read again".into()),
        }
    }

    /// The master keys, renewed when `id` is none of them.
    pub async fn master_keys_with(&self, id: &str) -> Result<Arc<MasterKeys>, crate::Error> {
        let keys = self.master_keys().await?;
        match keys.find(id) {
            Some(_) => Ok(keys),
            None => self.renewed_master_keys().await,
        }
    }

    /// A version that was current at some time; `None` when it is gone. Secrets Manager keeps those of before the previous one
    /// for a while.
    pub async fn earlier_master_key(&self, id: &str) -> Result<Option<MasterKey>, crate::Error> {
        self.version(|get| get.version_id(id)).await
    }

    async fn asked_within(&self, age: TimeDelta) -> Result<(Arc<MasterKeys>, bool), crate::Error> {
        let mut cached = self.cached.lock().await;
        let now = self.clock.now();
        if let Some(asked) = &*cached
            && (now - asked.at).abs() < age
        {
            return Ok((asked.keys.clone(), asked.is_answered));
        }
        let (keys, is_answered) = match (self.fetch().await, &*cached) {
            (Ok(keys), _) => (Arc::new(keys), true),
            (Err(error), Some(old)) => {
                tracing::warn!(%error, "the secret could not be refreshed");
                (old.keys.clone(), false)
            }
            (Err(error), None) => return Err(error),
        };
        *cached = Some(Asked {
            at: now,
            is_answered,
            keys: keys.clone(),
        });
        Ok((keys, is_answered))
    }

    async fn fetch(&self) -> Result<MasterKeys, crate::Error> {
        let (current, previous) = tokio::join!(
            self.version(|get| get.version_stage("AWSCURRENT")),
            self.version(|get| get.version_stage("AWSPREVIOUS"))
        );
        Ok(MasterKeys {
            current: current?.ok_or("the secret has no current version")?,
            previous: previous?,
        })
    }

    async fn version(
        &self,
        which: impl FnOnce(GetSecretValueFluentBuilder) -> GetSecretValueFluentBuilder,
    ) -> Result<Option<MasterKey>, crate::Error> {
        let get = self.client.get_secret_value().secret_id(&self.arn);
        match which(get).send().await {
            Ok(value) => {
                let secret = value.secret_string.ok_or("the secret is not a text")?;
                Ok(Some(MasterKey {
                    id: value.version_id.unwrap_or_default(),
                    secret: secret.into_bytes(),
                }))
            }
            Err(SdkError::ServiceError(error))
                if matches!(
                    error.err(),
                    GetSecretValueError::ResourceNotFoundException(_)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
