//! Identifiers: UUID version 7, the same on the wire and in the store, sorted by the time of their making.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rand::Rng;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not a UUID in its hyphenated lower- or upper-case form.
#[derive(Debug, thiserror::Error)]
#[error("must be a UUID")]
pub struct InvalidId;

/// A type of identifiers.
pub trait Identifier: From<Uuid> {
    /// The type's own name, which keeps identifiers of different types apart that are derived from one seed.
    const NAME: &'static str;
}

macro_rules! id_type {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = Uuid, example = "0193a5c8-7b40-7c6e-9d2f-5b1e8a4c3d70")]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh identifier whose first 48 bits are `now` in milliseconds.
            pub fn new(now: DateTime<Utc>) -> Self {
                Self(new_v7(now))
            }

            /// The smallest identifier that `new` could give at `time`: a bound for reading by time.
            pub fn first_at(time: DateTime<Utc>) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(millis(time), &[0; 10]).into_uuid())
            }

            /// The time when it was made, to the millisecond.
            pub fn created_at(self) -> DateTime<Utc> {
                created_at(self.0)
            }

            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl Identifier for $name {
            const NAME: &'static str = stringify!($name);
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // `Uuid::parse_str` also takes braces, URNs and bare hex; one id has one spelling here.
                if text.len() != 36 {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(formatter)
            }
        }
    )*};
}

id_type! {
    /// The tenant.
    OrganizationId
    /// A workspace; Prodgy calls it a product.
    WorkspaceId
    UserId
    /// A sign-in, from login to logout.
    SessionId
    /// An API token or key of any dialect.
    TokenId
    AgentId
    /// One state of an agent's definition.
    AgentVersionId
    /// A run; Prodgy calls it an execution.
    RunId
    /// A display message.
    MessageId
    AuditId
    /// A request in the request log.
    ActivityId
    SignalId
    /// A key for a provider of models.
    CredentialId
    /// A client's access to an account, as its user has granted it.
    OAuthGrantId
    /// A user of an app, who is no user of the platform.
    AppUserId
}

macro_rules! int_id_type {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = u64, example = 3_708_912_640_317_441_u64)]
        pub struct $name(u64);

        impl $name {
            /// An identifier of the second that `now` is in. Two may meet, if seldom: an identifier is taken with a write that fails
            /// where it is there already, and else another one is tried.
            pub fn new(now: DateTime<Utc>) -> Self {
                Self(new_int(now))
            }

            /// The identifier in keys: padded, so that text order is the order of numbers, and thereby of time.
            pub fn padded(self) -> String {
                format!("{:0width$}", self.0, width = INT_DIGITS)
            }
        }

        impl FromStr for $name {
            type Err = InvalidIntId;

            fn from_str(text: &str) -> Result<Self, InvalidIntId> {
                let number = text.parse().map_err(|_| InvalidIntId)?;
                if number > MAX_INT {
                    return Err(InvalidIntId);
                }
                Ok(Self(number))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )*};
}

int_id_type! {
    /// An app of Prowpt's, which calls it a project.
    ProjectId
}

/// The text is not a whole number from 0 to 2^53 - 1.
#[derive(Debug, thiserror::Error)]
#[error("must be a whole number")]
pub struct InvalidIntId;

/// The largest integer that every JSON reader keeps exact.
const MAX_INT: u64 = (1 << 53) - 1;
/// Its digits.
const INT_DIGITS: usize = 16;
/// The random bits of an integer identifier, below those of its second.
const RANDOM_BITS: u32 = 21;

fn new_int(now: DateTime<Utc>) -> u64 {
    let second = u64::try_from(now.timestamp()).unwrap_or(0);
    let random = u64::from(rand::rng().next_u32()) & ((1 << RANDOM_BITS) - 1);
    ((second << RANDOM_BITS) | random) & MAX_INT
}

/// A fresh UUIDv7 at `now`.
pub fn new_v7(now: DateTime<Utc>) -> Uuid {
    let mut random = [0; 10];
    rand::rng().fill_bytes(&mut random);
    uuid::Builder::from_unix_timestamp_millis(millis(now), &random).into_uuid()
}

/// The UUIDv7 that `seed` stands for: the same seed and time give the same identifier, which makes a repeated creation
/// meet the row that the first one wrote.
pub fn deterministic(now: DateTime<Utc>, seed: &[u8; 32]) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&seed[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis(now), &random).into_uuid()
}

fn millis(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

fn created_at(uuid: Uuid) -> DateTime<Utc> {
    let bytes = uuid.as_bytes();
    let millis = bytes[..6]
        .iter()
        .fold(0_i64, |millis, byte| (millis << 8) | i64::from(*byte));
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_id_is_exact_in_json_and_its_keys_sort_by_time() {
        let early = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let late = early + chrono::Duration::seconds(1);
        let far = DateTime::from_timestamp(u32::MAX.into(), 0).unwrap();
        let ids = [early, late, far].map(ProjectId::new);
        assert!(ids.is_sorted());
        assert!(ids.map(ProjectId::padded).is_sorted());
        for id in ids {
            let json = serde_json::to_string(&id).unwrap();
            let read: f64 = json.parse().unwrap();
            assert_eq!(format!("{read}"), id.to_string());
            assert_eq!(id.to_string().parse::<ProjectId>().unwrap(), id);
        }
        for wrong in ["", "-1", "1.0", "9007199254740992", "x"] {
            assert!(wrong.parse::<ProjectId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_has_one_spelling_and_sorts_by_time() {
        let early = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
        let late = early + chrono::Duration::milliseconds(1);
        assert!(AgentId::new(early) < AgentId::new(late));
        assert!(AgentId::first_at(late) > AgentId::new(early));
        assert_eq!(AgentId::new(early).created_at(), early);
        for wrong in [
            "",
            "abc123",
            "0190f5a0b1c27d3e8f4a5b6c7d8e9f00",
            "{0190f5a0-b1c2-7d3e-8f4a-5b6c7d8e9f00}",
            "a#b/c",
        ] {
            assert!(wrong.parse::<AgentId>().is_err(), "{wrong}");
        }
    }
}
