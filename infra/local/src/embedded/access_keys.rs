//! The access keys of one start: one for each function, so that a recorder can tell which of them calls, and one for the
//! platform itself. They exist in memory and in the functions' environments only.

use std::collections::HashMap;
use std::sync::Arc;

use rand::distr::{Alphanumeric, SampleString};
use rustack_auth::{AuthError, CredentialProvider};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

/// Stands between the owner's name and the random part of an id.
const SEPARATOR: char = '-';
const RANDOM_IN_ID: usize = 16;
/// As long as AWS's: 238 bits.
const SECRET_LENGTH: usize = 40;

/// An access key id and its secret.
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// All keys that the embedded services accept. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AccessKeys(Arc<Keys>);

struct Keys {
    by_owner: HashMap<String, AccessKey>,
    secrets: HashMap<String, String>,
}

impl AccessKeys {
    /// Makes up a key for each owner. An owner's name is alphanumeric, as a logical id is.
    pub(crate) fn generate<'a>(owners: impl IntoIterator<Item = &'a str>) -> Self {
        let made = owners.into_iter().map(|owner| {
            let key = AccessKey {
                id: format!("{owner}{SEPARATOR}{}", random(RANDOM_IN_ID)),
                secret: random(SECRET_LENGTH),
            };
            (owner.to_owned(), key)
        });
        let by_owner: HashMap<_, _> = made.collect();
        let secrets = by_owner.values();
        let secrets = secrets.map(|key| (key.id.clone(), key.secret.clone()));
        Self(Arc::new(Keys {
            secrets: secrets.collect(),
            by_owner,
        }))
    }

    /// The key of an owner, if one was made for that name.
    pub(crate) fn of(&self, owner: &str) -> Option<&AccessKey> {
        self.0.by_owner.get(owner)
    }

    fn secret(&self, id: &str) -> Option<&String> {
        self.0.secrets.get(id)
    }
}

/// The owner of the key with this id.
pub fn owner(id: &str) -> &str {
    id.split(SEPARATOR).next().unwrap_or_default()
}

/// So many random letters and digits.
pub(crate) fn random(length: usize) -> String {
    Alphanumeric.sample_string(&mut rand::rng(), length)
}

impl CredentialProvider for AccessKeys {
    fn get_secret_key(&self, id: &str) -> Result<String, AuthError> {
        let unknown = || AuthError::AccessKeyNotFound(id.to_owned());
        self.secret(id).cloned().ok_or_else(unknown)
    }
}

#[async_trait::async_trait]
impl S3Auth for AccessKeys {
    async fn get_secret_key(&self, id: &str) -> S3Result<SecretKey> {
        let unknown = || s3_error!(InvalidAccessKeyId, "The access key does not exist");
        let secret = self.secret(id).cloned();
        Ok(SecretKey::from(secret.ok_or_else(unknown)?))
    }
}
