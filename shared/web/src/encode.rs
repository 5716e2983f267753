//! The three faces of an answer: the one place that knows envelopes, error bodies, status tables and rate-limit headers.

use auth::Dialect;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use domain::Error;
use domain::error::{FieldError, Location, RateLimit};
use domain::page::MAX_OFFSET;
use serde_json::{Map, Value, json};

use crate::response::{Payload, Shape};

/// A success in its dialect's envelope.
pub(crate) fn success(dialect: Dialect, status: StatusCode, payload: Payload) -> Response {
    let data = payload.data;
    match (dialect, payload.shape) {
        (_, Shape::Bare) => json_response(status, data),
        (Dialect::Prodgy | Dialect::Account, Shape::One | Shape::Nothing) => {
            json_response(status, envelope(&data, None))
        }
        (
            Dialect::Prodgy | Dialect::Account,
            Shape::Page {
                params,
                next_cursor,
                total,
            },
        ) => {
            let size = params.request.limit.get();
            let mut pagination =
                json!({"page": params.page, "pageSize": size, "next_cursor": next_cursor});
            if let Some(total) = total {
                pagination["total"] = total.into();
                pagination["totalPages"] = total.div_ceil(size).into();
                if total == MAX_OFFSET {
                    pagination["total_capped"] = true.into();
                }
            }
            json_response(status, envelope(&data, Some(&pagination)))
        }
        (Dialect::Prowpt, Shape::One) => json_response(status, data),
        (Dialect::AgentPlatform, Shape::One) => {
            json_response(status, wrap(b"{\"data\":", &data, b"}"))
        }
        (Dialect::Prowpt | Dialect::AgentPlatform, Shape::Nothing) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        (
            Dialect::Prowpt,
            Shape::Page {
                params,
                next_cursor,
                total,
            },
        ) => {
            let total = total.unwrap_or_default();
            let mut rest = json!({"total": total, "limit": params.request.limit, "offset": params.request.offset, "next_cursor": next_cursor});
            if total == MAX_OFFSET {
                rest["total_capped"] = true.into();
            }
            json_response(status, beside(b"{\"items\":", &data, &rest))
        }
        (Dialect::AgentPlatform, Shape::Page { next_cursor, .. }) => json_response(
            status,
            beside(
                b"{\"data\":",
                &data,
                &json!({"meta": {"next_cursor": next_cursor}}),
            ),
        ),
    }
}

/// An error in its dialect's body and status. A 5xx tells nothing but the request id.
pub(crate) fn failure(dialect: Dialect, error: &Error, request_id: &str) -> Response {
    let status = status_of(dialect, error);
    let message = match error {
        _ if status.is_server_error() => "An internal error occurred".to_owned(),
        // Begins with a field's name, which has its own spelling.
        Error::Invalid(_) => error.to_string(),
        _ => capitalised(&error.to_string()),
    };
    let body = match dialect {
        Dialect::Prodgy | Dialect::Account => {
            let mut body = json!({"success": false, "error": kind_of(error), "message": message, "request_id": request_id});
            if let Error::Invalid(fields) = error {
                body["errors"] = fields
                    .iter()
                    .map(|field| json!({"field": field.field, "message": field.message}))
                    .collect();
            }
            body
        }
        Dialect::Prowpt => match error {
            Error::Invalid(fields) => {
                json!({"detail": fields.iter().map(located).collect::<Vec<_>>(), "request_id": request_id})
            }
            Error::RateLimited(_) => {
                json!({"detail": "Rate limit exceeded", "request_id": request_id})
            }
            _ => json!({"detail": message, "request_id": request_id}),
        },
        Dialect::AgentPlatform => match error {
            Error::Invalid(fields) => json!({"errors": by_field(fields)}),
            Error::NotFound(_) => json!({"errors": {"detail": "Not Found"}}),
            _ => json!({"errors": {"detail": message}}),
        },
    };
    let mut response = json_response(status, body.to_string().into());
    if let Error::Throttled { retry_after, .. } = error {
        let wait = HeaderValue::from(*retry_after);
        response.headers_mut().insert(RETRY_AFTER, wait);
    }
    if dialect == Dialect::Prowpt && status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(
            axum::http::header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer"),
        );
    }
    response
}

/// How a window stands, in the dialect's headers. The published products name them differently (Prodgy's REST
/// introduction, AgentPlatform's API reference).
pub(crate) fn rate_limit_headers(
    dialect: Dialect,
    limit: &RateLimit,
    over: bool,
    headers: &mut HeaderMap,
) {
    let names = match dialect {
        Dialect::Prodgy | Dialect::Account => {
            ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
        }
        Dialect::Prowpt | Dialect::AgentPlatform => [
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ],
    };
    headers.insert(
        HeaderName::from_static(names[0]),
        HeaderValue::from(limit.limit),
    );
    headers.insert(
        HeaderName::from_static(names[1]),
        HeaderValue::from(limit.remaining),
    );
    headers.insert(
        HeaderName::from_static(names[2]),
        HeaderValue::from(limit.reset),
    );
    if over {
        headers.insert(RETRY_AFTER, HeaderValue::from(limit.retry_after));
    }
}

/// The status of an error. Prodgy's document lists neither 409, 413, 415 nor 422, so these are 400 there (Prodgy's REST introduction).
pub(crate) fn status_of(dialect: Dialect, error: &Error) -> StatusCode {
    let prodgy = matches!(dialect, Dialect::Prodgy | Dialect::Account);
    match error {
        Error::Malformed(_) => StatusCode::BAD_REQUEST,
        Error::Invalid(_)
        | Error::Refused(_)
        | Error::Conflict(_)
        | Error::LimitReached(_)
        | Error::UnsupportedMediaType
        | Error::TooLarge { .. }
            if prodgy =>
        {
            StatusCode::BAD_REQUEST
        }
        Error::Invalid(_) | Error::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Conflict(_) => StatusCode::CONFLICT,
        Error::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_) | Error::LimitReached(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Error::RateLimited(_) | Error::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
        // Not 503: Prodgy's list ends at 500, and Prowpt's client sends a POST again on 503 though it may have happened.
        Error::Unavailable(_) | Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Prodgy's `error` member.
fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::Malformed(_) => "BadRequest",
        Error::Invalid(_) => "ValidationError",
        Error::Unauthenticated(_) => "Unauthorized",
        Error::Forbidden(_) => "Forbidden",
        Error::NotFound(_) => "NotFound",
        Error::MethodNotAllowed => "MethodNotAllowed",
        Error::Conflict(_) | Error::Refused(_) => "InvalidState",
        Error::LimitReached(_) => "LimitReached",
        Error::UnsupportedMediaType => "UnsupportedMediaType",
        Error::TooLarge { .. } => "PayloadTooLarge",
        Error::RateLimited(_) | Error::Throttled { .. } => "RateLimitExceeded",
        Error::Unavailable(_) | Error::Internal(_) => "InternalServerError",
    }
}

/// A field error as FastAPI shows it: `loc` is never empty (seen with prowpt-mcp-server 0.3.1).
fn located(error: &FieldError) -> Value {
    let location = match error.location {
        Location::Body => "body",
        Location::Query => "query",
        Location::Header => "header",
    };
    let mut loc = vec![Value::from(location)];
    for part in error
        .field
        .split(['.', '[', ']'])
        .filter(|part| !part.is_empty())
    {
        loc.push(
            part.parse::<u32>()
                .map_or_else(|_| Value::from(part), Value::from),
        );
    }
    json!({"loc": loc, "msg": error.message, "type": "value_error"})
}

fn by_field(errors: &[FieldError]) -> Map<String, Value> {
    let mut fields = Map::new();
    for error in errors {
        let messages = fields
            .entry(error.field.clone())
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(messages) = messages {
            messages.push(error.message.clone().into());
        }
    }
    fields
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().chain(characters).collect())
        .unwrap_or_default()
}

fn envelope(data: &[u8], pagination: Option<&Value>) -> Bytes {
    let start = b"{\"success\":true,\"message\":\"Operation completed successfully\",\"data\":";
    match pagination {
        None => wrap(start, data, b"}"),
        Some(pagination) => beside(start, data, &json!({ "pagination": pagination })),
    }
}

fn wrap(start: &[u8], data: &[u8], end: &[u8]) -> Bytes {
    [start, data, end].concat().into()
}

/// `data` behind `start`, with the members of `rest` beside it.
fn beside(start: &[u8], data: &[u8], rest: &Value) -> Bytes {
    let rest = rest.to_string();
    wrap(
        start,
        data,
        format!(",{}", rest.trim_start_matches('{')).as_bytes(),
    )
}

fn json_response(status: StatusCode, body: Bytes) -> Response {
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
