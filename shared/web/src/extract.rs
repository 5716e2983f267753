//! Extractors for the rest of a request beside its body, query and path. A rejection is a domain error like any other.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};

use crate::error::ApiError;
use crate::page::PageParams;
use crate::params::Params;
use crate::scope::RequestScope;

/// The moment at which the host stops waiting for this request's answer, where it says so.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Option<DateTime<Utc>>);

impl<S: Send + Sync> FromRequestParts<S> for Deadline {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let context = parts.extensions.get::<lambda_http::Context>();
        let millis = context.and_then(|context| i64::try_from(context.deadline).ok());
        Ok(Self(millis.and_then(DateTime::from_timestamp_millis)))
    }
}

/// The header that names the last event of a stream that a client has seen. Clients that cannot set headers use the parameter.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub const LAST_EVENT_ID_PARAMETER: &str = "last_event_id";

impl<S: Send + Sync> FromRequestParts<S> for PageParams {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = Params::from_request_parts(parts, state).await?;
        Ok(RequestScope::of(parts).dialect.read_page(&params)?)
    }
}
