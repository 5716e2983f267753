//! Prowpt: bare JSON, lists as `{"items":..}`, errors as `{"detail":..}`; what is not valid is 422. Limits are by key. Unknown paths
//! answer in this dialect.

use auth::{CredentialPolicy, NamedLimit, RateLimitPolicy, RateSubject};
use axum::http::StatusCode;
use axum::response::Response;
use domain::Error;
use domain::error::{FieldError, Location};
use domain::page::MAX_OFFSET;
use domain::token::TokenKind;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::{
    Dialect, REQUEST_ID, account, beside, json_response, next_cursor_schema, no_content, object,
    request_id_schema,
};
use crate::page::PageParams;
use crate::params::Params;
use crate::response::{Payload, Shape};

pub(super) struct Prowpt;

static CREDENTIALS: CredentialPolicy = CredentialPolicy {
    header: Some("x-api-key"),
    token: Some(TokenKind::Prowpt),
    sessions: true,
    // Prowpt's agent integration page.
    limit_of_tokens: RateLimitPolicy::even(
        RateSubject::Credential,
        NamedLimit {
            name: "prowpt",
            of: |limits| limits.prowpt,
        },
    ),
    limit_of_sessions: account::LIMIT,
};

impl Dialect for Prowpt {
    fn name(&self) -> &'static str {
        "Prowpt"
    }

    fn owns(&self, _: [&str; 3]) -> bool {
        true
    }

    fn credentials(&self) -> &'static CredentialPolicy {
        &CREDENTIALS
    }

    fn takes_product_id(&self) -> bool {
        true
    }

    fn takes_organization_id(&self) -> bool {
        true
    }

    fn read_page(&self, params: &Params) -> Result<PageParams, Error> {
        let limit = params.rows("limit")?.unwrap_or(PageParams::DEFAULT_ROWS);
        let offset = params.number("offset", 0, u32::MAX)?.unwrap_or(0);
        PageParams::new(params, limit, Some(("offset", offset)))
    }

    fn success(&self, status: StatusCode, payload: Payload) -> Response {
        let data = payload.data;
        match payload.shape {
            Shape::Bare | Shape::One => json_response(status, data),
            Shape::Nothing => no_content(),
            Shape::Page {
                params,
                next_cursor,
                total,
            } => {
                let total = total.unwrap_or_default();
                let mut rest = json!({"total": total, "limit": params.request.limit, "offset": params.request.offset, "next_cursor": next_cursor});
                if total == MAX_OFFSET {
                    rest["total_capped"] = true.into();
                }
                json_response(status, beside(b"{\"items\":", &data, &rest))
            }
        }
    }

    fn challenge(&self) -> Option<&'static str> {
        Some("Bearer")
    }

    fn failure_body(&self, error: &Error, message: &str, request_id: &str) -> Value {
        let detail: Value = match error {
            Error::Invalid(fields) => fields.iter().map(located).collect(),
            Error::RateLimited(_) => "Rate limit exceeded".into(),
            _ => message.into(),
        };
        json!({"detail": detail, "request_id": request_id})
    }

    fn rate_limit_headers(&self) -> [&'static str; 3] {
        RATE_LIMIT_HEADERS
    }

    fn security(&self) -> Value {
        json!([{"ProwptKey": []}, {"ProwptBearer": []}])
    }

    fn success_schema(&self, data: Value, is_list: bool) -> Option<Value> {
        if data.is_null() {
            return None;
        }
        if !is_list {
            return Some(data);
        }
        Some(json!({
            "type": "object",
            "required": ["items", "total", "limit", "offset", "next_cursor"],
            "properties": {
                "items": data,
                "total": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "examples": [1]},
                "total_capped": {"type": "boolean", "const": true, "description": "There are more than `total`"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 200, "examples": [50]},
                "offset": {"type": "integer", "minimum": 0, "examples": [0]},
                "next_cursor": next_cursor_schema(),
            },
        }))
    }

    fn schemas(&self) -> Map<String, Value> {
        let located = json!({
            "type": "object",
            "required": ["loc", "msg", "type"],
            "properties": {
                "loc": {"type": "array", "minItems": 1, "items": {"type": ["string", "integer"]}},
                "msg": {"type": "string"},
                "type": {"type": "string"},
            },
        });
        object(json!({
            "ProwptError": {
                "type": "object",
                "required": ["detail"],
                "properties": {"detail": {"type": "string"}, "request_id": request_id_schema()},
            },
            "ProwptValidationError": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": {"oneOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": located}]},
                    "request_id": request_id_schema(),
                },
            },
        }))
    }

    fn error_example(&self, is_validation: bool, _: &str, message: &str) -> Value {
        if is_validation {
            let detail =
                json!([{"loc": ["body", "name"], "msg": "can't be blank", "type": "value_error"}]);
            json!({"detail": detail, "request_id": REQUEST_ID})
        } else {
            json!({"detail": message, "request_id": REQUEST_ID})
        }
    }
}

/// As Prowpt and AgentPlatform name them (AgentPlatform's API reference).
pub(super) const RATE_LIMIT_HEADERS: [&str; 3] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

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

/// The paging parameters of a Prowpt list, for its description.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProwptPaging {
    /// Rows of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// Rows to skip, within the first 1,000.
    #[param(minimum = 0, default = 0)]
    pub offset: Option<u32>,
    /// The `next_cursor` of the page before. Not together with `offset`.
    #[param(format = "uuid")]
    pub cursor: Option<String>,
}
