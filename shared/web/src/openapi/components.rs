//! The components that operations refer to: the bodies of errors, common parameters and headers, and the credentials.

use domain::Error;
use serde_json::{Map, Value, json};

use super::envelopes::headers as answer_headers;
use super::requests::Access;
use crate::dialects;

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
    for dialect in dialects::described() {
        let validation = dialect.status_of(&Error::Invalid(Vec::new()));
        for (status, meaning, kind, message) in ERRORS {
            let is_validation = status == validation.as_str();
            let suffix = if is_validation {
                "ValidationError"
            } else {
                "Error"
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
            if status == "401" && dialect.challenge().is_some() {
                headers["WWW-Authenticate"] = json!({"$ref": "#/components/headers/Authenticate"});
            }
            let name = dialect.name();
            let response = json!({
                "description": meaning,
                "headers": headers,
                "content": {"application/json": {
                    "schema": {"$ref": format!("#/components/schemas/{name}{suffix}")},
                    "example": dialect.error_example(is_validation, kind, message),
                }},
            });
            all.insert(format!("{name}{status}"), response);
        }
    }
    all.into()
}

pub(super) fn schemas() -> Map<String, Value> {
    dialects::described()
        .flat_map(|dialect| dialect.schemas())
        .collect()
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
