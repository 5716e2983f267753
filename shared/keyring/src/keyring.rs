//! Keys of the master secret, for what does not last: a label for each use, so that no key serves two purposes. What is stored is
//! sealed by the [`crate::Vault`].

use std::sync::Arc;

use domain::digest::hex;
use domain::{Error, Result};
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use runtime::{MasterKey, MasterKeys, Services};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::sealing::derive;

/// Signs with the current master key, and accepts what the previous one signed.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Arc<MasterKeys>,
}

impl Keyring {
    /// The keyring as of now; a round trip at most once in five minutes.
    pub async fn load(services: &Services) -> Result<Self> {
        let keys = services
            .secrets
            .master_keys()
            .await
            .map_err(Error::unavailable)?;
        Ok(Self { keys })
    }

    /// The keyring as of now. The secret is read again when the key that `token` names is not known here: another instance may
    /// have learned of a rotation first.
    pub async fn load_for(services: &Services, token: &str) -> Result<Self> {
        let Some(id) = key_id_of(token) else {
            return Self::load(services).await;
        };
        let keys = services.secrets.master_keys_with(&id).await;
        let keys = keys.map_err(Error::unavailable)?;
        Ok(Self { keys })
    }

    /// The keyring, for which the secret is read again, at most once in ten seconds.
    pub async fn renewed(services: &Services) -> Result<Self> {
        let keys = services.secrets.renewed_master_keys().await;
        let keys = keys.map_err(Error::unavailable)?;
        Ok(Self { keys })
    }

    /// A JSON Web Token (HS256) for `audience`. Audiences have keys of their own and cannot be confused.
    pub fn sign(&self, audience: &str, claims: &impl Serialize) -> Result<String> {
        let key = &self.keys.current;
        let header = Header {
            kid: Some(key.id.clone()),
            ..Header::new(Algorithm::HS256)
        };
        let secret = derive(&key.secret, &format!("jwt/{audience}"));
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&*secret))
            .map_err(Error::internal)
    }

    /// The claims of a token that we signed for `audience`; `None` for any other. Its times are the caller's to check.
    pub fn verify<T: DeserializeOwned + Clone>(&self, audience: &str, token: &str) -> Option<T> {
        let key = self.keys.find(&key_id_of(token)?)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["aud"]);
        // The library asks the system for the time; ours comes from the clock.
        validation.validate_exp = false;
        let secret = derive(&key.secret, &format!("jwt/{audience}"));
        jsonwebtoken::decode(token, &DecodingKey::from_secret(&*secret), &validation)
            .ok()
            .map(|data| data.claims)
    }

    /// A keyed hash of `text` for `purpose`, in hexadecimal: what may be stored of a text that could be guessed.
    pub fn mac(&self, purpose: &str, text: &[u8]) -> String {
        hex(&mac(&self.keys.current, purpose, text)
            .finalize()
            .into_bytes())
    }

    /// Returns `true` if `expected` is the keyed hash of `text` under the current or the previous key.
    pub fn verify_mac(&self, purpose: &str, text: &[u8], expected: &str) -> bool {
        self.keys.iter().any(|key| {
            let actual = hex(&mac(key, purpose, text).finalize().into_bytes());
            actual.as_bytes().ct_eq(expected.as_bytes()).into()
        })
    }

    /// This keyring with each of its keys as the only one, the current one first.
    pub fn versions(&self) -> impl Iterator<Item = Self> {
        self.keys.iter().map(|key| Self {
            keys: Arc::new(MasterKeys {
                current: key.clone(),
                previous: None,
            }),
        })
    }
}

/// The id of the key that a token names as the one it was signed with.
fn key_id_of(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).ok()?.kid
}

fn mac(key: &MasterKey, purpose: &str, text: &[u8]) -> Hmac<Sha256> {
    let derived = derive(&key.secret, &format!("mac/{purpose}"));
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&*derived)
        .expect("HMAC takes a key of any length");
    mac.update(text);
    mac
}

/// For tests.
#[cfg(any(test, feature = "testing"))]
impl Keyring {
    /// A keyring of these keys, the current one first.
    ///
    /// # Panics
    /// There is no key.
    pub fn of(keys: &[(&str, &str)]) -> Self {
        let mut keys = keys.iter().map(|(id, secret)| MasterKey {
            id: (*id).to_owned(),
            secret: secret.as_bytes().to_vec(),
        });
        Self {
            keys: Arc::new(MasterKeys {
                current: keys.next().expect("a current key"),
                previous: keys.next(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Claims {
        sub: String,
        aud: String,
    }

    #[test]
    fn what_the_previous_key_made_is_accepted_and_what_an_older_one_made_is_not() {
        let first = Keyring::of(&[("1", "one")]);
        let second = Keyring::of(&[("2", "two"), ("1", "one")]);
        let third = Keyring::of(&[("3", "three"), ("2", "two")]);
        let claims = Claims {
            sub: "ada".to_owned(),
            aud: "session".to_owned(),
        };

        let token = first.sign("session", &claims).unwrap();
        assert_eq!(second.verify::<Claims>("session", &token), Some(claims));
        assert_eq!(third.verify::<Claims>("session", &token), None);
        assert_eq!(
            second.verify::<Claims>("mcp", &token),
            None,
            "audiences stay apart"
        );

        let mac = first.mac("body", b"text");
        assert!(
            second.verify_mac("body", b"text", &mac) && !second.verify_mac("body", b"other", &mac)
        );
        assert!(
            !second.verify_mac("refresh", b"text", &mac)
                && !third.verify_mac("body", b"text", &mac)
        );
    }
}
