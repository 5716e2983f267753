//! The ids of what requests create.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::ids::{self, Identifier};
use sha2::{Digest, Sha256};

use crate::error::ApiError;

/// The request has an `Idempotency-Key` that was not looked up yet. In the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyNotLookedUp;

/// The id for what this request creates: a fresh one, or for a request with an `Idempotency-Key` always the same, so that a
/// repetition after a crash meets the row that the first attempt wrote.
#[derive(Clone, Copy, Debug)]
pub struct NewId {
    pub(crate) seed: Option<(DateTime<Utc>, [u8; 32])>,
}

impl NewId {
    /// The id, with the time `now` unless the request was first made earlier. Each type of id has its own.
    pub fn id<T: Identifier>(&self, now: DateTime<Utc>) -> T {
        T::from(self.seed.map_or_else(
            || ids::new_v7(now),
            |(first_at, seed)| {
                let seed = [T::NAME.as_bytes(), &seed].concat();
                ids::deterministic(first_at, &Sha256::digest(seed).into())
            },
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NewId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extensions.get::<Self>() {
            Some(fresh) => Ok(*fresh),
            None if parts.extensions.get::<KeyNotLookedUp>().is_some() => Err(ApiError(
                Error::internal("an id was wanted before the request's key was looked up"),
            )),
            None => Ok(Self { seed: None }),
        }
    }
}
