//! Prodgy: `{"success":true,"message":..,"data":..}`; what is not valid is 400. Limits are by address.

use auth::{CredentialPolicy, NamedLimit, RateLimitPolicy, RateSubject};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use domain::Error;
use domain::page::MAX_OFFSET;
use domain::token::TokenKind;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::{
    Dialect, REQUEST_ID, beside, json_response, next_cursor_schema, object, request_id_schema,
    status_of, wrap,
};
use crate::page::PageParams;
use crate::params::Params;
use crate::response::{Payload, Shape};

pub(super) struct Prodgy;

/// Prodgy limits by address (Prodgy's REST introduction).
const LIMIT: RateLimitPolicy = RateLimitPolicy {
    subject: RateSubject::Address,
    normal: NamedLimit {
        name: "prodgy",
        of: |limits| limits.prodgy,
    },
    strict: NamedLimit {
        name: "prodgy_strict",
        of: |limits| limits.prodgy_strict,
    },
};

static CREDENTIALS: CredentialPolicy = CredentialPolicy {
    header: Some("x-api-token"),
    token: Some(TokenKind::Prodgy),
    sessions: true,
    limit_of_tokens: LIMIT,
    limit_of_sessions: LIMIT,
};

impl Dialect for Prodgy {
    fn name(&self) -> &'static str {
        "Prodgy"
    }

    fn owns(&self, segments: [&str; 3]) -> bool {
        match segments {
            ["swagger" | "swagger.json", ..] => true,
            ["api", second, _] => matches!(
                second,
                "agent-base"
                    | "workflow"
                    | "workflow-base"
                    | "integrations-base"
                    | "knowledge-base"
                    | "webhook"
                    | "communicator"
                    | "assistant"
                    | "transcription"
                    | "api-tokens"
                    | "api-token"
            ),
            _ => false,
        }
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
        read_page(params)
    }

    fn success(&self, status: StatusCode, payload: Payload) -> Response {
        success(status, payload)
    }

    fn failure_body(&self, error: &Error, message: &str, request_id: &str) -> Value {
        failure_body(error, message, request_id)
    }

    fn status_of(&self, error: &Error) -> StatusCode {
        status(error)
    }

    fn rate_limit_headers(&self) -> [&'static str; 3] {
        RATE_LIMIT_HEADERS
    }

    fn security(&self) -> Value {
        json!([{"ProdgyToken": []}, {"ProdgyBearer": []}])
    }

    fn success_schema(&self, data: Value, is_list: bool) -> Option<Value> {
        Some(success_schema(data, is_list))
    }

    fn schemas(&self) -> Map<String, Value> {
        let error = json!({
            "type": "object",
            "required": ["success", "error", "message"],
            "properties": {
                "success": {"type": "boolean", "const": false},
                "error": {"type": "string", "description": "The kind of error, in one word"},
                "message": {"type": "string", "description": "The same for people"},
                "request_id": request_id_schema(),
            },
        });
        let mut validation = error.clone();
        validation["properties"]["errors"] = json!({
            "type": "array",
            "description": "The fields that are wrong, if that is what it is about",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        });
        let pagination = json!({
            "type": "object",
            "required": ["page", "pageSize", "next_cursor", "total", "totalPages"],
            "properties": {
                "page": {"type": "integer", "minimum": 1, "examples": [1]},
                "pageSize": {"type": "integer", "minimum": 1, "maximum": 200, "examples": [50]},
                "total": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "examples": [1]},
                "totalPages": {"type": "integer", "minimum": 0, "examples": [1]},
                "total_capped": {"type": "boolean", "const": true, "description": "There are more than `total`"},
                "next_cursor": next_cursor_schema(),
            },
        });
        object(json!({
            "ProdgyError": error,
            "ProdgyValidationError": validation,
            "Pagination": pagination,
        }))
    }

    fn error_example(&self, is_validation: bool, kind: &str, message: &str) -> Value {
        if is_validation {
            json!({
                "success": false, "error": "ValidationError", "message": "name: can't be blank",
                "errors": [{"field": "name", "message": "can't be blank"}], "request_id": REQUEST_ID,
            })
        } else {
            json!({"success": false, "error": kind, "message": message, "request_id": REQUEST_ID})
        }
    }
}

/// As Prodgy names them (Prodgy's REST introduction).
pub(super) const RATE_LIMIT_HEADERS: [&str; 3] =
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];

/// Prodgy's document lists neither 409, 413, 415 nor 422, so these are 400 there (Prodgy's REST introduction).
pub(super) fn status(error: &Error) -> StatusCode {
    match error {
        Error::Invalid(_)
        | Error::Refused(_)
        | Error::Conflict(_)
        | Error::LimitReached(_)
        | Error::UnsupportedMediaType
        | Error::TooLarge { .. } => StatusCode::BAD_REQUEST,
        _ => status_of(error),
    }
}

pub(super) fn failure_body(error: &Error, message: &str, request_id: &str) -> Value {
    let mut body = json!({"success": false, "error": kind_of(error), "message": message, "request_id": request_id});
    if let Error::Invalid(fields) = error {
        body["errors"] = fields
            .iter()
            .map(|field| json!({"field": field.field, "message": field.message}))
            .collect();
    }
    body
}

/// The `error` member.
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

pub(super) fn success(status: StatusCode, payload: Payload) -> Response {
    let data = payload.data;
    match payload.shape {
        Shape::Bare => json_response(status, data),
        Shape::One | Shape::Nothing => json_response(status, envelope(&data, None)),
        Shape::Page {
            params,
            next_cursor,
            total,
        } => {
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
    }
}

fn envelope(data: &[u8], pagination: Option<&Value>) -> Bytes {
    let start = b"{\"success\":true,\"message\":\"Operation completed successfully\",\"data\":";
    match pagination {
        None => wrap(start, data, b"}"),
        Some(pagination) => beside(start, data, &json!({ "pagination": pagination })),
    }
}

pub(super) fn success_schema(data: Value, is_list: bool) -> Value {
    let data = if data.is_null() {
        json!({"type": "object", "maxProperties": 0})
    } else {
        data
    };
    let mut schema = json!({
        "type": "object",
        "required": ["success", "message", "data"],
        "properties": {
            "success": {"type": "boolean", "const": true},
            "message": {"type": "string", "examples": ["Operation completed successfully"]},
            "data": data,
        },
    });
    if is_list {
        schema["required"] = json!(["success", "message", "data", "pagination"]);
        schema["properties"]["pagination"] = json!({"$ref": "#/components/schemas/Pagination"});
    }
    schema
}

pub(super) fn read_page(params: &Params) -> Result<PageParams, Error> {
    let page = params.number("page", 1, u32::MAX)?;
    let (size, limit) = (params.rows("pageSize")?, params.rows("limit")?);
    // `limit` alone asks for the first rows; beside `page` or `pageSize` it is ignored.
    let size = size
        .or(limit.filter(|_| page.is_none()))
        .unwrap_or(PageParams::DEFAULT_ROWS);
    let page = page.unwrap_or(1);
    let offset = (page - 1).saturating_mul(size);
    let read = PageParams::new(params, size, Some(("page", offset)))?;
    Ok(PageParams { page, ..read })
}

/// The paging parameters of a Prodgy list, for its description.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProdgyPaging {
    /// From 1.
    #[param(minimum = 1, default = 1)]
    pub page: Option<u32>,
    /// Rows of a page.
    #[param(rename = "pageSize", minimum = 1, maximum = 200, default = 50)]
    pub page_size: Option<u32>,
    /// The first so many rows. Ignored beside `page` or `pageSize`.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before. Not together with `page`.
    #[param(format = "uuid")]
    pub cursor: Option<String>,
}
