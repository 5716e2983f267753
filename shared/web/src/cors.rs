//! Cross-origin requests: pages of the configured origins, and of every origin where the route says so.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use runtime::Config;

use crate::routes::RoutePolicy;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, X-API-Token, X-API-Key, X-Organization-Id, Idempotency-Key, Last-Event-ID, Mcp-Session-Id, \
     MCP-Protocol-Version",
);
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "X-Request-Id, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-RateLimit-Limit, X-RateLimit-Remaining, \
     X-RateLimit-Reset, Mcp-Session-Id",
);

/// The origin to allow for a request, if any.
pub(crate) fn allowed_origin(
    config: &Config,
    policy: Option<RoutePolicy>,
    headers: &HeaderMap,
) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    if policy.is_some_and(|policy| policy.any_origin) {
        return Some(HeaderValue::from_static("*"));
    }
    config
        .allowed_origins
        .iter()
        .any(|allowed| allowed.as_bytes() == origin.as_bytes())
        .then(|| origin.clone())
}

/// The method that a preflight request asks about.
pub(crate) fn requested_method(parts: &Parts) -> Option<Method> {
    let method = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}

/// The answer to a preflight request.
pub(crate) fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Tells the browser what it may do with the response.
pub(crate) fn annotate(headers: &mut HeaderMap, origin: Option<HeaderValue>, is_preflight: bool) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    if is_preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
}
