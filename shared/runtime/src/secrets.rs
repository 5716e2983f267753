//! The one secret that every key is derived from, read from Secrets Manager.

use std::sync::Arc;

use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

use crate::Clock;

/// How long a fetched secret serves before it is asked for again.
const FRESH_FOR: TimeDelta = TimeDelta::minutes(5);

/// One version of the master secret.
#[derive(Clone)]
pub struct MasterKey {
    /// Names this version in whatever was signed or sealed with it.
    pub id: String,
    /// The secret text, of which the keys are derived.
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

/// Fetches the master secret in init and keeps it for five minutes, so that a rotation reaches every instance.
#[derive(Clone)]
pub struct Secrets {
    client: aws_sdk_secretsmanager::Client,
    arn: String,
    clock: Clock,
    cached: Arc<Mutex<Option<Fetched>>>,
}

/// The keys, and when they were fetched.
type Fetched = (DateTime<Utc>, Arc<MasterKeys>);

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
        let mut cached = self.cached.lock().await;
        let now = self.clock.now();
        if let Some((fetched_at, keys)) = &*cached
            && (now - *fetched_at).abs() < FRESH_FOR
        {
            return Ok(keys.clone());
        }
        let keys = match (self.fetch().await, &*cached) {
            (Ok(keys), _) => Arc::new(keys),
            (Err(error), Some((_, old))) => {
                tracing::warn!(%error, "the secret could not be refreshed");
                old.clone()
            }
            (Err(error), None) => return Err(error),
        };
        *cached = Some((now, keys.clone()));
        Ok(keys)
    }

    async fn fetch(&self) -> Result<MasterKeys, crate::Error> {
        let (current, previous) =
            tokio::join!(self.version("AWSCURRENT"), self.version("AWSPREVIOUS"));
        Ok(MasterKeys {
            current: current?.ok_or("the secret has no current version")?,
            previous: previous?,
        })
    }

    async fn version(&self, stage: &str) -> Result<Option<MasterKey>, crate::Error> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.arn)
            .version_stage(stage)
            .send()
            .await;
        match answer {
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
