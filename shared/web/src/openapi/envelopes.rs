//! The schemas and headers of successes, in the envelopes of their dialects.

use serde_json::{Map, Value, json};

use super::requests::{Access, has_parameter};
use crate::dialects::DialectRef;

/// Wraps the success responses of an operation, and gives them their headers.
pub(super) fn wrap(dialect: DialectRef, access: Access, operation: &mut Value) {
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
        match dialect.success_schema(schema, is_list) {
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
        "201" => "Created",
        "202" => "Accepted; processing continues asynchronously",
        "204" => "No content",
        _ => "Successful response",
    }
}

/// A header's name as documents spell it: `x-ratelimit-limit` is `X-RateLimit-Limit`.
fn spelled(name: &str) -> String {
    let words = name.split('-').map(|word| match word {
        "ratelimit" => "RateLimit".to_owned(),
        _ => word[..1].to_uppercase() + &word[1..],
    });
    words.collect::<Vec<_>>().join("-")
}

/// The headers of every answer of the platform.
pub(super) fn headers(dialect: DialectRef, access: Access) -> Value {
    let mut headers = Map::new();
    let mut add = |name: &str, component: &str| {
        headers.insert(
            name.to_owned(),
            json!({"$ref": format!("#/components/headers/{component}")}),
        );
    };
    add("X-Request-Id", "RequestId");
    if access != Access::Open {
        let names = dialect.rate_limit_headers();
        for (name, part) in names.into_iter().zip(["Limit", "Remaining", "Reset"]) {
            add(&spelled(name), &format!("RateLimit{part}"));
        }
    }
    headers.into()
}
