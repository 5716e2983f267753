//! The error responses of an operation: by its dialect's status table, and what the operation takes.

use domain::Error;
use serde_json::{Value, json};

use super::requests::{Access, has_parameter};
use crate::dialects::DialectRef;

/// Adds the errors of an operation to those that its annotation names.
pub(super) fn add(dialect: DialectRef, method: &str, access: Access, operation: &mut Value) {
    let status = |error: &Error| dialect.status_of(error);
    let validation = status(&Error::Invalid(Vec::new()));
    let conflict = status(&Error::Conflict(String::new()));
    let media_type = status(&Error::UnsupportedMediaType);
    let is_guarded = access != Access::Open;
    let has_body = operation.get("requestBody").is_some();
    // Also a body that the operation makes nothing of is read for the sake of its `Idempotency-Key`.
    let reads_body = has_body || (is_guarded && method == "post");
    let has_query = has_parameter(operation, |parameter| {
        parameter["in"] == "query" || parameter["$ref"] == "#/components/parameters/ProductId"
    });
    let has_headers = is_guarded && dialect.takes_organization_id();
    let is_checked = reads_body || has_query || has_headers;
    let names_something = has_parameter(operation, |parameter| parameter["in"] == "path");
    // Where workspace or organization can be chosen, the choice may not exist.
    let chooses_tenant = dialect.takes_organization_id();

    let wanted = [
        ("400", has_body || (is_guarded && has_query)),
        ("401", is_guarded),
        ("403", access == Access::Some),
        ("404", is_guarded && (names_something || chooses_tenant)),
        (conflict.as_str(), is_guarded && method != "get"),
        ("413", reads_body),
        (media_type.as_str(), has_body),
        (validation.as_str(), is_checked),
        ("429", is_guarded),
    ];
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, _) in wanted.into_iter().filter(|(_, is_wanted)| *is_wanted) {
        responses
            .entry(status)
            .or_insert_with(|| json!({"description": ""}));
    }
    for (status, response) in responses {
        if status.starts_with('4') && response.get("content").is_none() {
            *response = reference(dialect, status);
        }
    }
}

fn reference(dialect: DialectRef, status: &str) -> Value {
    json!({"$ref": format!("#/components/responses/{}{status}", dialect.name())})
}
