//! The schemas of successes, in the envelopes of `encode::success`.

use auth::Dialect;
use serde_json::{Map, Value, json};

use super::requests::{Access, has_parameter};

/// Wraps the success responses of an operation, and gives them their headers.
pub(super) fn wrap(dialect: Dialect, access: Access, operation: &mut Value) {
    let is_bare = operation
        .as_object_mut()
        .and_then(|members| members.remove("x-bare"))
        .is_some();
    let is_list = has_parameter(operation, |parameter| parameter["name"] == "cursor");
    let responses = operation["responses"].as_object_mut();
    let successes = responses
        .into_iter()
        .flatten()
        .filter(|(status, _)| status.starts_with('2'));
    for (status, response) in successes {
        if response["description"].as_str().is_none_or(str::is_empty) {
            response["description"] = description(status).into();
        }
        response["headers"] = headers(dialect, access);
        if is_bare {
            continue;
        }
        let schema = response["content"]["application/json"]["schema"].take();
        match shape(dialect, schema, is_list) {
            Some(schema) => response["content"] = json!({"application/json": {"schema": schema}}),
            None => {
                response
                    .as_object_mut()
                    .map(|members| members.remove("content"));
            }
        }
    }
}

fn description(status: &str) -> &'static str {
    match status {
        "201" => "Made",
        "202" => "Accepted, and worked on",
        "204" => "Done",
        _ => "What was asked for",
    }
}

/// The headers of every answer of the platform.
pub(super) fn headers(dialect: Dialect, access: Access) -> Value {
    let mut headers = Map::new();
    let mut add = |name: &str, component: &str| {
        headers.insert(
            name.to_owned(),
            json!({"$ref": format!("#/components/headers/{component}")}),
        );
    };
    add("X-Request-Id", "RequestId");
    if access != Access::Open {
        for part in ["Limit", "Remaining", "Reset"] {
            let name = match dialect {
                Dialect::Prodgy | Dialect::Account => format!("RateLimit-{part}"),
                Dialect::Prowpt | Dialect::AgentPlatform => format!("X-RateLimit-{part}"),
            };
            add(&name, &format!("RateLimit{part}"));
        }
    }
    headers.into()
}

/// `None` where the answer has no body. `data` is null where the handler returns nothing.
fn shape(dialect: Dialect, data: Value, is_list: bool) -> Option<Value> {
    Some(match (dialect, is_list) {
        (Dialect::Prodgy | Dialect::Account, _) => {
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
                schema["properties"]["pagination"] =
                    json!({"$ref": "#/components/schemas/Pagination"});
            }
            schema
        }
        (Dialect::Prowpt | Dialect::AgentPlatform, _) if data.is_null() => return None,
        (Dialect::Prowpt, false) => data,
        (Dialect::Prowpt, true) => json!({
            "type": "object",
            "required": ["items", "total", "limit", "offset", "next_cursor"],
            "properties": {
                "items": data,
                "total": {"type": "integer", "minimum": 0, "maximum": domain::page::MAX_OFFSET, "examples": [1]},
                "total_capped": {"type": "boolean", "const": true, "description": "There are more than `total`"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 200, "examples": [50]},
                "offset": {"type": "integer", "minimum": 0, "examples": [0]},
                "next_cursor": next_cursor(),
            },
        }),
        (Dialect::AgentPlatform, false) => json!({
            "type": "object",
            "required": ["data"],
            "properties": {"data": data},
        }),
        (Dialect::AgentPlatform, true) => json!({
            "type": "object",
            "required": ["data", "meta"],
            "properties": {
                "data": data,
                "meta": {
                    "type": "object",
                    "required": ["next_cursor"],
                    "properties": {"next_cursor": next_cursor()},
                },
            },
        }),
    })
}

pub(super) fn next_cursor() -> Value {
    json!({
        "type": ["string", "null"],
        "description": "The `cursor` of the next page; null on the last one",
        "examples": [null],
    })
}
