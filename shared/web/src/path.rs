//! The ids of the path.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use domain::Error;

use crate::error::ApiError;

/// The one id of the path. Whatever is not the form of an id names nothing, so it is not found.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

/// The two ids of the path, in order.
#[derive(Clone, Copy, Debug)]
pub struct IdPair<A, B>(pub A, pub B);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segments = path_variables(parts, state).await;
        let id = segments
            .first()
            .filter(|_| segments.len() == 1)
            .and_then(|segment| segment.parse().ok());
        id.map(Self).ok_or(ApiError(Error::NotFound("resource")))
    }
}

impl<A: FromStr, B: FromStr, S: Send + Sync> FromRequestParts<S> for IdPair<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segments = path_variables(parts, state).await;
        let pair = match segments.as_slice() {
            [first, second] => first.parse().ok().zip(second.parse().ok()),
            _ => None,
        };
        pair.map(|(first, second)| Self(first, second))
            .ok_or(ApiError(Error::NotFound("resource")))
    }
}

async fn path_variables<S: Send + Sync>(parts: &mut Parts, state: &S) -> Vec<String> {
    match RawPathParams::from_request_parts(parts, state).await {
        Ok(params) => params.iter().map(|(_, value)| value.to_owned()).collect(),
        // Not UTF-8 once decoded, so no id of ours.
        Err(_) => Vec::new(),
    }
}
