//! What operations refer to: the bodies of errors, common parameters and headers, and the credentials.

use auth::Dialect;
use domain::page::MAX_OFFSET;
use serde_json::{Map, Value, json};

use super::envelopes::{headers as answer_headers, next_cursor};
use super::errors::prefix;
use super::requests::Access;

const DIALECTS: [Dialect; 3] = [Dialect::Prodgy, Dialect::Prowpt, Dialect::AgentPlatform];
/// A request id, in examples.
const REQUEST_ID: &str = "3f0c4a1e-6a52-4c8e-9d0b-2f6f3a7b9c11";

/// The statuses of errors, with what they mean to a client and an example of their message.
const ERRORS: [(&str, &str, &str, &str); 9] = [
    (
        "400",
        "The request is not valid",
        "BadRequest",
        "The request needs a JSON body",
    ),
    (
        "401",
        "The credential is missing, unknown, expired or of another kind",
        "Unauthorized",
        "A credential is required",
    ),
    (
        "403",
        "The credential is good, but not for this",
        "Forbidden",
        "Missing scope: agents:write",
    ),
    (
        "404",
        "There is no such thing, or it is another tenant's",
        "NotFound",
        "Agent not found",
    ),
    (
        "409",
        "Another request changed it meanwhile, or the same request is still being worked on",
        "InvalidState",
        "It was changed in the meantime",
    ),
    (
        "413",
        "The body is too large",
        "PayloadTooLarge",
        "Request body is too large",
    ),
    (
        "415",
        "The body is not said to be JSON",
        "UnsupportedMediaType",
        "A JSON body needs the content type application/json",
    ),
    (
        "422",
        "A value is not valid, or the state does not allow it",
        "ValidationError",
        "name: can't be blank",
    ),
    (
        "429",
        "Too many requests in this minute; `Retry-After` tells how many seconds to wait",
        "RateLimitExceeded",
        "Rate limit exceeded",
    ),
];

pub(super) fn responses() -> Value {
    let mut all = Map::new();
    for dialect in DIALECTS {
        for (status, meaning, kind, message) in ERRORS {
            let is_validation = status
                == if dialect == Dialect::Prodgy {
                    "400"
                } else {
                    "422"
                };
            let suffix = if is_validation {
                "ValidationError"
            } else {
                "Error"
            };
            let example = match (dialect, is_validation) {
                (Dialect::Prodgy | Dialect::Account, true) => json!({
                    "success": false, "error": "ValidationError", "message": "name: can't be blank",
                    "errors": [{"field": "name", "message": "can't be blank"}], "request_id": REQUEST_ID,
                }),
                (Dialect::Prodgy | Dialect::Account, false) => {
                    json!({"success": false, "error": kind, "message": message, "request_id": REQUEST_ID})
                }
                (Dialect::Prowpt, true) => json!({
                    "detail": [{"loc": ["body", "name"], "msg": "can't be blank", "type": "value_error"}], "request_id": REQUEST_ID,
                }),
                (Dialect::Prowpt, false) => json!({"detail": message, "request_id": REQUEST_ID}),
                (Dialect::AgentPlatform, true) => json!({"errors": {"name": ["can't be blank"]}}),
                (Dialect::AgentPlatform, false) => json!({"errors": {"detail": message}}),
            };
            let access = if status == "401" {
                Access::Open
            } else {
                Access::Anyone
            };
            let mut headers = answer_headers(dialect, access);
            if status == "429" {
                headers["Retry-After"] = json!({"$ref": "#/components/headers/RetryAfter"});
            }
            if status == "401" && dialect == Dialect::Prowpt {
                headers["WWW-Authenticate"] = json!({"$ref": "#/components/headers/Authenticate"});
            }
            let name = prefix(dialect);
            let response = json!({
                "description": meaning,
                "headers": headers,
                "content": {"application/json": {
                    "schema": {"$ref": format!("#/components/schemas/{name}{suffix}")},
                    "example": example,
                }},
            });
            all.insert(format!("{name}{status}"), response);
        }
    }
    all.into()
}

pub(super) fn schemas() -> Map<String, Value> {
    let request_id = json!({"type": "string", "description": "The id that `X-Request-Id` has too"});
    let prodgy = json!({
        "type": "object",
        "required": ["success", "error", "message"],
        "properties": {
            "success": {"type": "boolean", "const": false},
            "error": {"type": "string", "description": "The kind of error, in one word"},
            "message": {"type": "string", "description": "The same for people"},
            "request_id": request_id,
        },
    });
    let mut prodgy_validation = prodgy.clone();
    prodgy_validation["properties"]["errors"] = json!({
        "type": "array",
        "description": "The fields that are wrong, if that is what it is about",
        "items": {
            "type": "object",
            "required": ["field", "message"],
            "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
        },
    });
    let located = json!({
        "type": "object",
        "required": ["loc", "msg", "type"],
        "properties": {
            "loc": {"type": "array", "minItems": 1, "items": {"type": ["string", "integer"]}},
            "msg": {"type": "string"},
            "type": {"type": "string"},
        },
    });
    let schemas = json!({
        "ProdgyError": prodgy,
        "ProdgyValidationError": prodgy_validation,
        "ProwptError": {
            "type": "object",
            "required": ["detail"],
            "properties": {"detail": {"type": "string"}, "request_id": request_id},
        },
        "ProwptValidationError": {
            "type": "object",
            "required": ["detail"],
            "properties": {
                "detail": {"oneOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": located}]},
                "request_id": request_id,
            },
        },
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
        "Pagination": {
            "type": "object",
            "required": ["page", "pageSize", "next_cursor", "total", "totalPages"],
            "properties": {
                "page": {"type": "integer", "minimum": 1, "examples": [1]},
                "pageSize": {"type": "integer", "minimum": 1, "maximum": 200, "examples": [50]},
                "total": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "examples": [1]},
                "totalPages": {"type": "integer", "minimum": 0, "examples": [1]},
                "total_capped": {"type": "boolean", "const": true, "description": "There are more than `total`"},
                "next_cursor": next_cursor(),
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

pub(super) fn parameters() -> Value {
    json!({
        "ProductId": {
            "name": "product_id", "in": "query",
            "description": "The workspace to work in. Sessions choose it so; a token or key has one of its own.",
            "schema": {"type": "string", "format": "uuid"},
        },
        "OrganizationId": {
            "name": "X-Organization-Id", "in": "header",
            "description": "The organization to work in. For super administrators; from other callers it is ignored.",
            "schema": {"type": "string", "format": "uuid"},
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "description": "A text of your choice. The same request with the same key, within 24 hours, is answered again and not done again.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        },
    })
}

pub(super) fn headers() -> Value {
    let number =
        |description: &str| json!({"description": description, "schema": {"type": "integer"}});
    json!({
        "RequestId": {"description": "Names this request in the platform's logs", "schema": {"type": "string"}},
        "RateLimitLimit": number("How many requests a minute are allowed"),
        "RateLimitRemaining": number("How many are left in this minute"),
        "RateLimitReset": number("When the next minute begins, in Unix seconds"),
        "RetryAfter": number("How many seconds to wait"),
        "Authenticate": {"description": "Always `Bearer`", "schema": {"type": "string"}},
    })
}

pub(super) fn security_schemes() -> Value {
    let bearer =
        |description: &str| json!({"type": "http", "scheme": "bearer", "description": description});
    json!({
        "Session": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "The `access_token` of a session, from `POST /api/auth/login`",
        },
        "ProdgyToken": {
            "type": "apiKey", "in": "header", "name": "X-API-Token",
            "description": "An API token, `prodgy_…`",
        },
        "ProdgyBearer": bearer("An API token, `prodgy_…`, or the `access_token` of a session"),
        "ProwptKey": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "A key, `pk_live_…`",
        },
        "ProwptBearer": bearer("A key, `pk_live_…`, or the `access_token` of a session"),
        "AgentPlatformKey": bearer("A key, `ap_live_…`, with the scopes that the operation names"),
    })
}
