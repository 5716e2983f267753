//! AgentPlatform: `{"data":..}`, lists with `meta`, errors as `{"errors":..}`; what is not valid is 422. Keys only, with limits by key.

use auth::{CredentialPolicy, NamedLimit, RateLimitPolicy, RateSubject};
use axum::http::StatusCode;
use axum::response::Response;
use domain::Error;
use domain::error::FieldError;
use domain::token::TokenKind;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::{Dialect, beside, json_response, next_cursor_schema, no_content, object, prowpt, wrap};
use crate::page::PageParams;
use crate::params::Params;
use crate::response::{Payload, Shape};

pub(super) struct AgentPlatform;

/// By key (AgentPlatform's API reference).
const LIMIT: RateLimitPolicy = RateLimitPolicy::even(
    RateSubject::Credential,
    NamedLimit {
        name: "agentplatform",
        of: |limits| limits.agentplatform,
    },
);

static CREDENTIALS: CredentialPolicy = CredentialPolicy {
    header: None,
    token: Some(TokenKind::AgentPlatform),
    sessions: false,
    limit_of_tokens: LIMIT,
    limit_of_sessions: LIMIT,
};

impl Dialect for AgentPlatform {
    fn name(&self) -> &'static str {
        "AgentPlatform"
    }

    fn owns(&self, segments: [&str; 3]) -> bool {
        matches!(segments, ["api", "v1", _] | ["webhooks", "inbound", _])
    }

    fn credentials(&self) -> &'static CredentialPolicy {
        &CREDENTIALS
    }

    fn takes_product_id(&self) -> bool {
        false
    }

    fn takes_organization_id(&self) -> bool {
        false
    }

    fn read_page(&self, params: &Params) -> Result<PageParams, Error> {
        let limit = params.rows("limit")?.unwrap_or(PageParams::DEFAULT_ROWS);
        PageParams::new(params, limit, None)
    }

    fn success(&self, status: StatusCode, payload: Payload) -> Response {
        let data = payload.data;
        match payload.shape {
            Shape::Bare => json_response(status, data),
            Shape::One => json_response(status, wrap(b"{\"data\":", &data, b"}")),
            Shape::Nothing => no_content(),
            Shape::Page { next_cursor, .. } => {
                let rest = json!({"meta": {"next_cursor": next_cursor}});
                json_response(status, beside(b"{\"data\":", &data, &rest))
            }
        }
    }

    fn failure_body(&self, error: &Error, message: &str, _: &str) -> Value {
        match error {
            Error::Invalid(fields) => json!({"errors": by_field(fields)}),
            Error::NotFound(_) => json!({"errors": {"detail": "Not Found"}}),
            _ => json!({"errors": {"detail": message}}),
        }
    }

    fn rate_limit_headers(&self) -> [&'static str; 3] {
        prowpt::RATE_LIMIT_HEADERS
    }

    fn security(&self) -> Value {
        json!([{"AgentPlatformKey": []}])
    }

    fn success_schema(&self, data: Value, is_list: bool) -> Option<Value> {
        if data.is_null() {
            return None;
        }
        if !is_list {
            return Some(json!({
                "type": "object",
                "required": ["data"],
                "properties": {"data": data},
            }));
        }
        Some(json!({
            "type": "object",
            "required": ["data", "meta"],
            "properties": {
                "data": data,
                "meta": {
                    "type": "object",
                    "required": ["next_cursor"],
                    "properties": {"next_cursor": next_cursor_schema()},
                },
            },
        }))
    }

    fn schemas(&self) -> Map<String, Value> {
        object(json!({
            "AgentPlatformError": {
                "type": "object",
                "required": ["errors"],
                "properties": {"errors": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": {"detail": {"type": "string"}},
                }},
            },
            "AgentPlatformValidationError": {
                "type": "object",
                "required": ["errors"],
                "properties": {"errors": {
                    "type": "object",
                    "description": "Messages by field, or a `detail` if no field is wrong",
                    "minProperties": 1,
                    "properties": {"detail": {"type": ["string", "array"], "items": {"type": "string"}}},
                    "additionalProperties": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                }},
            },
        }))
    }

    fn error_example(&self, is_validation: bool, _: &str, message: &str) -> Value {
        if is_validation {
            json!({"errors": {"name": ["can't be blank"]}})
        } else {
            json!({"errors": {"detail": message}})
        }
    }
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

/// The paging parameters of an AgentPlatform list, for its description.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CursorPaging {
    /// Rows of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(format = "uuid")]
    pub cursor: Option<String>,
}
