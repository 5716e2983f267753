//! Keys, all derived from the one master secret: a label for each use, so that no key serves two purposes.

use std::sync::Arc;

use aes_gcm::aead::{Aead, Generate, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::digest::hex;
use domain::{Error, Result};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use runtime::{MasterKey, MasterKeys, Services};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Signs and seals with the current master key, and accepts what the previous one made.
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

    /// A JSON Web Token (HS256) for `audience`. Audiences have keys of their own and cannot be confused.
    pub fn sign(&self, audience: &str, claims: &impl Serialize) -> Result<String> {
        let key = &self.keys.current;
        let header = Header {
            kid: Some(key.id.clone()),
            ..Header::new(Algorithm::HS256)
        };
        let secret = derive(key, &format!("jwt/{audience}"));
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&*secret))
            .map_err(Error::internal)
    }

    /// The claims of a token that we signed for `audience`; `None` for any other. Its times are the caller's to check.
    pub fn verify<T: DeserializeOwned + Clone>(&self, audience: &str, token: &str) -> Option<T> {
        let key = self.find(jsonwebtoken::decode_header(token).ok()?.kid.as_deref()?)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["aud"]);
        // The library asks the system for the time; ours comes from the clock.
        validation.validate_exp = false;
        let secret = derive(key, &format!("jwt/{audience}"));
        jsonwebtoken::decode(token, &DecodingKey::from_secret(&*secret), &validation)
            .ok()
            .map(|data| data.claims)
    }

    /// Encrypts `text` for `purpose` (AES-256-GCM). `context`, the tenant and record that it belongs to, must be given again
    /// to open it.
    pub fn seal(&self, purpose: &str, context: &str, text: &[u8]) -> Result<String> {
        let key = &self.keys.current;
        let nonce = Nonce::generate();
        let payload = Payload {
            msg: text,
            aad: context.as_bytes(),
        };
        let sealed = cipher(key, purpose)
            .encrypt(&nonce, payload)
            .map_err(|_| Error::internal("sealing failed"))?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&key.id),
            URL_SAFE_NO_PAD.encode(bytes)
        ))
    }

    /// What [`Self::seal`] was given; `None` when it was sealed for something else or by a key that is gone.
    pub fn open(&self, purpose: &str, context: &str, sealed: &str) -> Option<Vec<u8>> {
        let (id, bytes) = sealed.split_once('.')?;
        let id = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
        let key = self.find(&id)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(12)?;
        let nonce = Nonce::try_from(nonce).ok()?;
        cipher(key, purpose)
            .decrypt(
                &nonce,
                Payload {
                    msg: sealed,
                    aad: context.as_bytes(),
                },
            )
            .ok()
    }

    /// A keyed hash of `text` for `purpose`, in hexadecimal: what may be stored of a text that could be guessed.
    pub fn mac(&self, purpose: &str, text: &[u8]) -> String {
        hex(&mac(&self.keys.current, purpose, text)
            .finalize()
            .into_bytes())
    }

    /// Whether `expected` is the keyed hash of `text` under the current or the previous key.
    pub fn verify_mac(&self, purpose: &str, text: &[u8], expected: &str) -> bool {
        std::iter::once(&self.keys.current)
            .chain(&self.keys.previous)
            .any(|key| {
                let actual = hex(&mac(key, purpose, text).finalize().into_bytes());
                actual.as_bytes().ct_eq(expected.as_bytes()).into()
            })
    }

    /// This keyring with each of its keys as the only one, the current one first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = Self> {
        let keys = std::iter::once(&self.keys.current).chain(&self.keys.previous);
        keys.map(|key| Self {
            keys: Arc::new(MasterKeys {
                current: key.clone(),
                previous: None,
            }),
        })
    }

    fn find(&self, id: &str) -> Option<&MasterKey> {
        let previous = self.keys.previous.iter();
        std::iter::once(&self.keys.current)
            .chain(previous)
            .find(|key| key.id == id)
    }
}

fn derive(key: &MasterKey, label: &str) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    let expanded = Hkdf::<Sha256>::new(None, &key.secret)
        .expand(format!("signalbox/{label}/v1").as_bytes(), &mut *derived);
    expanded.expect("32 bytes are within HKDF's limit");
    derived
}

fn mac(key: &MasterKey, purpose: &str, text: &[u8]) -> Hmac<Sha256> {
    let derived = derive(key, &format!("mac/{purpose}"));
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&*derived)
        .expect("HMAC takes a key of any length");
    mac.update(text);
    mac
}

fn cipher(key: &MasterKey, purpose: &str) -> Aes256Gcm {
    Aes256Gcm::new((&*derive(key, &format!("seal/{purpose}"))).into())
}

#[cfg(test)]
impl Keyring {
    /// A keyring of these keys, the current one first.
    pub(crate) fn of(keys: &[(&str, &str)]) -> Self {
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

        let sealed = first.seal("credential", "tenant/1", b"sk-secret").unwrap();
        assert_eq!(
            second.open("credential", "tenant/1", &sealed).as_deref(),
            Some(&b"sk-secret"[..])
        );
        assert_eq!(
            second.open("credential", "tenant/2", &sealed),
            None,
            "another record's context"
        );
        assert_eq!(
            second.open("response", "tenant/1", &sealed),
            None,
            "another purpose"
        );
        assert_eq!(third.open("credential", "tenant/1", &sealed), None);
        assert_eq!(second.open("credential", "tenant/1", "x.y"), None);

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
