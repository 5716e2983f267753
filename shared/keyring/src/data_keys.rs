//! Data keys: what seals the things that are stored. They do not change with the master secret, which only wraps them, so that
//! what is sealed outlives any number of rotations.

use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::digest::hex;
use domain::ids::new_v7;
use hmac::{Hmac, Mac};
use rand::Rng;
use runtime::{MasterKey, MasterKeys};
use sha2::Sha256;
use store::WrappedDataKey;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::sealing::{decrypt, derive, encrypt};

/// The purpose that data keys are wrapped for.
const WRAP: &str = "wrap/data-key";
/// The time that a data key seals, once the master secret is rotated.
const SEALS_FOR: TimeDelta = TimeDelta::days(30);

/// A data key, unwrapped.
#[derive(Clone)]
pub(crate) struct DataKey {
    id: Uuid,
    created_at: DateTime<Utc>,
    secret: Zeroizing<[u8; 32]>,
}

impl DataKey {
    pub(crate) fn generate(now: DateTime<Utc>) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(&mut *secret);
        Self {
            id: new_v7(now),
            created_at: now,
            secret,
        }
    }

    /// Returns `true` if another one should seal after a rotation.
    pub(crate) fn has_served(&self, now: DateTime<Utc>) -> bool {
        now - self.created_at > SEALS_FOR
    }

    /// The key as it is stored: wrapped by the current master key and by the previous one, for instances that have not heard of
    /// the current one yet.
    pub(crate) fn wrapped_by(&self, masters: &MasterKeys) -> Result<WrappedDataKey> {
        let context = self.id.to_string();
        let wrapped = masters.iter().map(|master| {
            let wrapped = encrypt(&derive(&master.secret, WRAP), &context, &*self.secret)?;
            Ok((master.id.clone(), wrapped))
        });
        Ok(WrappedDataKey {
            id: self.id,
            created_at: self.created_at,
            wrapped: wrapped.collect::<Result<_>>()?,
        })
    }

    /// The key that `wrapped` is, if `master` is among what wraps it.
    pub(crate) fn unwrapped(wrapped: &WrappedDataKey, master: &MasterKey) -> Option<Self> {
        let sealed = wrapped.wrapped.get(&master.id)?;
        let context = wrapped.id.to_string();
        let secret = Zeroizing::new(decrypt(&derive(&master.secret, WRAP), &context, sealed)?);
        Some(Self {
            id: wrapped.id,
            created_at: wrapped.created_at,
            secret: Zeroizing::new(secret.as_slice().try_into().ok()?),
        })
    }
}

/// The data keys of the platform, the one that seals last.
#[derive(Clone, Default)]
pub(crate) struct DataKeys {
    pub(crate) keys: Vec<DataKey>,
}

/// The result of reading something that names the key which made it.
pub(crate) enum Found<T> {
    Known(T),
    /// The named key is none of the keys at hand; `None` when the text names no key.
    UnknownKey(Option<Uuid>),
}

impl DataKeys {
    /// Encrypts `text` for `purpose`. `context`, the tenant and record that it belongs to, has a key of its own.
    pub(crate) fn seal(&self, purpose: &str, context: &str, text: &[u8]) -> Result<String> {
        let key = self.current()?;
        let sealed = encrypt(&key.sealing(purpose, context), context, text)?;
        Ok(format!("{}.{sealed}", key.id.simple()))
    }

    /// The value that [`Self::seal`] was given; `Known(None)` when it was sealed for something else.
    pub(crate) fn open(
        &self,
        purpose: &str,
        context: &str,
        sealed: &str,
    ) -> Found<Option<Vec<u8>>> {
        self.with(sealed, |key, sealed| {
            decrypt(&key.sealing(purpose, context), context, sealed)
        })
    }

    /// A keyed hash of `text` for `purpose`: what may be stored of a text that could be guessed.
    pub(crate) fn mac(&self, purpose: &str, text: &[u8]) -> Result<String> {
        let key = self.current()?;
        let mac = hex(&key.mac(purpose, text).finalize().into_bytes());
        Ok(format!("{}.{mac}", key.id.simple()))
    }

    /// Returns `true` if `expected` is the keyed hash of `text`.
    pub(crate) fn verify_mac(&self, purpose: &str, text: &[u8], expected: &str) -> Found<bool> {
        self.with(expected, |key, expected| {
            let actual = hex(&key.mac(purpose, text).finalize().into_bytes());
            actual.as_bytes().ct_eq(expected.as_bytes()).into()
        })
    }

    fn current(&self) -> Result<&DataKey> {
        let none = || domain::Error::internal("there is no data key");
        self.keys.last().ok_or_else(none)
    }

    fn with<T>(&self, text: &str, read: impl FnOnce(&DataKey, &str) -> T) -> Found<T> {
        let parts = text.split_once('.');
        let named = parts.and_then(|(id, rest)| Some((Uuid::try_parse(id).ok()?, rest)));
        let Some((id, rest)) = named else {
            return Found::UnknownKey(None);
        };
        match self.keys.iter().find(|key| key.id == id) {
            Some(key) => Found::Known(read(key, rest)),
            None => Found::UnknownKey(Some(id)),
        }
    }
}

impl DataKey {
    fn sealing(&self, purpose: &str, context: &str) -> Zeroizing<[u8; 32]> {
        derive(&*self.secret, &format!("seal/{purpose}/{context}"))
    }

    fn mac(&self, purpose: &str, text: &[u8]) -> Hmac<Sha256> {
        let derived = derive(&*self.secret, &format!("mac/{purpose}"));
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&*derived)
            .expect("HMAC takes a key of any length");
        mac.update(text);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters(current: &str, previous: Option<&str>) -> MasterKeys {
        let key = |id: &str| MasterKey {
            id: id.to_owned(),
            secret: format!("secret of {id}").into_bytes(),
        };
        MasterKeys {
            current: key(current),
            previous: previous.map(key),
        }
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_and_record_alone() {
        let keys = DataKeys {
            keys: vec![DataKey::generate(DateTime::UNIX_EPOCH)],
        };
        let sealed = keys.seal("credential", "tenant/1", b"sk-secret").unwrap();
        let open = |keys: &DataKeys, purpose: &str, context: &str, sealed: &str| match keys
            .open(purpose, context, sealed)
        {
            Found::Known(opened) => Some(opened),
            Found::UnknownKey(_) => None,
        };
        let secret = Some(Some(b"sk-secret".to_vec()));
        assert_eq!(open(&keys, "credential", "tenant/1", &sealed), secret);
        assert_eq!(open(&keys, "credential", "tenant/2", &sealed), Some(None));
        assert_eq!(open(&keys, "response", "tenant/1", &sealed), Some(None));
        assert_eq!(open(&keys, "credential", "tenant/1", "x.y"), None);
        let mac = keys.mac("body", b"text").unwrap();
        let is = |text| matches!(keys.verify_mac("body", text, &mac), Found::Known(true));
        assert!(is(b"text") && !is(b"other"));

        let others = DataKeys {
            keys: vec![DataKey::generate(DateTime::UNIX_EPOCH)],
        };
        assert_eq!(open(&others, "credential", "tenant/1", &sealed), None);
        let both = DataKeys {
            keys: [keys.keys, others.keys].concat(),
        };
        assert_eq!(open(&both, "credential", "tenant/1", &sealed), secret);
        assert!(
            !both
                .seal("x", "x", b"x")
                .unwrap()
                .starts_with(&sealed[..32])
        );
    }

    #[test]
    fn a_data_key_is_unwrapped_by_the_versions_that_wrap_it() {
        let key = DataKey::generate(DateTime::UNIX_EPOCH);
        let wrapped = key.wrapped_by(&masters("2", Some("1"))).unwrap();
        let unwrapped = |id: &str| {
            let masters = masters(id, None);
            DataKey::unwrapped(&wrapped, &masters.current).map(|key| key.secret)
        };
        for id in ["1", "2"] {
            assert_eq!(unwrapped(id).as_ref(), Some(&key.secret));
        }
        assert!(unwrapped("3").is_none());
    }
}
