//! The dialects: what each family of paths makes of credentials, paging, successes and failures, with the schemas that describe it.
//!
//! A dialect is one file, so that what is sent and what is described cannot drift apart. Everything else takes it as a value, and
//! `auth` gets its [`CredentialPolicy`] alone.

mod account;
mod agentplatform;
mod prodgy;
mod prowpt;

use auth::CredentialPolicy;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use domain::Error;
use domain::error::RateLimit;
use serde_json::{Map, Value, json};

use crate::page::PageParams;
use crate::params::Params;
use crate::response::Payload;

pub use agentplatform::CursorPaging;
pub use prodgy::ProdgyPaging;
pub use prowpt::ProwptPaging;

/// A dialect, which exists once.
pub type DialectRef = &'static dyn Dialect;

/// All dialects. A path belongs to the first that owns it; the last owns all.
const ALL: [DialectRef; 4] = [
    &agentplatform::AgentPlatform,
    &account::Account,
    &prodgy::Prodgy,
    &prowpt::Prowpt,
];

/// The dialect of a path.
pub fn dialect_of(path: &str) -> DialectRef {
    let mut all = path.split('/').filter(|segment| !segment.is_empty());
    let segments: [&str; 3] = std::array::from_fn(|_| all.next().unwrap_or_default());
    let owner = ALL.into_iter().find(|dialect| dialect.owns(segments));
    owner.unwrap_or(&prowpt::Prowpt)
}

/// The dialects that have component schemas of their own.
pub(crate) fn described() -> impl Iterator<Item = DialectRef> {
    ALL.into_iter()
        .filter(|dialect| !dialect.schemas().is_empty())
}

/// The wire conventions of a family of paths.
pub trait Dialect: Sync + 'static {
    /// The prefix of the names of its OpenAPI components.
    fn name(&self) -> &'static str;

    /// Tells whether a path with these first segments is the dialect's. Segments are compared whole: `/api/workflow` and
    /// `/api/workflows` belong to different dialects.
    fn owns(&self, segments: [&str; 3]) -> bool;

    fn credentials(&self) -> &'static CredentialPolicy;

    /// `true` when requests may choose their workspace by `product_id`.
    fn takes_product_id(&self) -> bool;

    /// `true` when requests may choose their organization by `X-Organization-Id`.
    fn takes_organization_id(&self) -> bool;

    /// Reads the paging parameters of a list.
    ///
    /// # Errors
    /// `Invalid` names the parameter.
    fn read_page(&self, params: &Params) -> Result<PageParams, Error>;

    /// A success in its envelope.
    fn success(&self, status: StatusCode, payload: Payload) -> Response;

    /// A failure. A 5xx tells nothing but the request id.
    fn failure(&self, error: &Error, request_id: &str) -> Response {
        let status = self.status_of(error);
        let body = self.failure_body(error, &message_of(error, status), request_id);
        let mut response = json_response(status, body.to_string().into());
        if let Error::Throttled { retry_after, .. } = error {
            let wait = HeaderValue::from(*retry_after);
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        if status == StatusCode::UNAUTHORIZED
            && let Some(challenge) = self.challenge()
        {
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// The JSON of a failure, with `message` for people.
    fn failure_body(&self, error: &Error, message: &str, request_id: &str) -> Value;

    fn status_of(&self, error: &Error) -> StatusCode {
        status_of(error)
    }

    /// The `WWW-Authenticate` of a 401.
    fn challenge(&self) -> Option<&'static str> {
        None
    }

    /// The headers of the state of a rate limit, in lower case: limit, remaining, reset.
    fn rate_limit_headers(&self) -> [&'static str; 3];

    /// The security requirement of an operation that names none.
    fn security(&self) -> Value;

    /// The schema of a success; `data` is null where the handler returns nothing. `None` where the answer has no body.
    fn success_schema(&self, data: Value, is_list: bool) -> Option<Value>;

    /// The component schemas that its successes and failures refer to: `{name}Error`, `{name}ValidationError` and others. Empty where
    /// another dialect's are used.
    fn schemas(&self) -> Map<String, Value>;

    /// An example of a failure's body. `kind` is its kind in one word.
    fn error_example(&self, is_validation: bool, kind: &str, message: &str) -> Value;
}

impl std::fmt::Debug for dyn Dialect {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A request id, in examples.
const REQUEST_ID: &str = "3f0c4a1e-6a52-4c8e-9d0b-2f6f3a7b9c11";

/// Puts the state of a rate limit into a response's headers.
pub(crate) fn add_rate_limit(
    dialect: DialectRef,
    limit: &RateLimit,
    is_over: bool,
    headers: &mut HeaderMap,
) {
    let values = [
        HeaderValue::from(limit.limit),
        HeaderValue::from(limit.remaining),
        HeaderValue::from(limit.reset),
    ];
    for (name, value) in dialect.rate_limit_headers().into_iter().zip(values) {
        headers.insert(HeaderName::from_static(name), value);
    }
    if is_over {
        headers.insert(RETRY_AFTER, HeaderValue::from(limit.retry_after));
    }
}

/// The status of an error where a dialect's document does not say otherwise.
fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::Malformed(_) => StatusCode::BAD_REQUEST,
        Error::Invalid(_) | Error::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Conflict(_) => StatusCode::CONFLICT,
        Error::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_) | Error::LimitReached(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Error::RateLimited(_) | Error::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
        // Not 503: Prodgy's list ends at 500, and Prowpt's client resends a POST on 503 though it may have happened.
        Error::Unavailable(_) | Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The message of an error for clients.
fn message_of(error: &Error, status: StatusCode) -> String {
    match error {
        _ if status.is_server_error() => "An internal error occurred".to_owned(),
        // Begins with a field's name, which has its own spelling.
        Error::Invalid(_) => error.to_string(),
        _ => capitalised(&error.to_string()),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().chain(characters).collect())
        .unwrap_or_default()
}

/// The schema of a page's `next_cursor`.
fn next_cursor_schema() -> Value {
    json!({
        "type": ["string", "null"],
        "description": "The `cursor` of the next page; null on the last one",
        "examples": [null],
    })
}

fn request_id_schema() -> Value {
    json!({"type": "string", "description": "The id that `X-Request-Id` has too"})
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// A response without a body.
fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Splices serialized `data` between `start` and `end`.
fn wrap(start: &[u8], data: &[u8], end: &[u8]) -> Bytes {
    [start, data, end].concat().into()
}

/// Splices serialized `data` behind `start`, with the members of `rest` beside it.
fn beside(start: &[u8], data: &[u8], rest: &Value) -> Bytes {
    let rest = rest.to_string();
    wrap(
        start,
        data,
        format!(",{}", rest.trim_start_matches('{')).as_bytes(),
    )
}

pub(crate) fn json_response(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
#[cfg(test)]
mod tests;
