//! Facts about a request that are computed once, before its handler runs.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lambda_http::request::RequestContext;

use crate::dialects::{DialectRef, dialect_of};
use crate::routes::MAX_BODY;

/// The dialect, the client and the limits of a request, in the request's extensions.
#[derive(Clone, Debug)]
pub struct RequestScope {
    pub dialect: DialectRef,
    pub client: Arc<Client>,
    /// The largest body that the route takes, in bytes.
    pub(crate) max_body: usize,
    /// `true` when the request was not counted, since it resumes a stream of events and was allowed to.
    pub is_resumed: bool,
}

impl RequestScope {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            dialect: dialect_of(parts.uri.path()),
            client: Arc::new(Client::of(parts)),
            max_body: MAX_BODY,
            is_resumed: false,
        }
    }

    /// The scope that `serve` has put into the request.
    pub(crate) fn of(parts: &Parts) -> Self {
        let scope = parts.extensions.get::<Self>().cloned();
        scope.unwrap_or_else(|| Self::new(parts))
    }
}

/// The client of a request, as the gateway saw it.
#[derive(Clone, Debug)]
pub struct Client {
    pub ip: String,
    pub user_agent: Option<String>,
    pub request_id: String,
}

impl Client {
    fn of(parts: &Parts) -> Self {
        let (ip, request_id) = match parts.extensions.get::<RequestContext>() {
            Some(RequestContext::ApiGatewayV1(context)) => (
                context.identity.source_ip.clone(),
                context.request_id.clone(),
            ),
            _ => (None, None),
        };
        let user_agent = parts
            .headers
            .get(axum::http::header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        Self {
            ip: ip.unwrap_or_else(|| "unknown".to_owned()),
            user_agent: user_agent.map(|text| text.chars().take(256).collect()),
            request_id: request_id.unwrap_or_default(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestScope {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::clone(&RequestScope::of(parts).client))
    }
}
