//! The inputs of an operation beside its own parameters and body: a credential, and what every request of its kind may carry.

use domain::access::{Role, least_role};
use serde_json::{Value, json};

use crate::dialects::DialectRef;

/// The callers of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Open,
    /// Every credential of the dialect.
    Anyone,
    /// Some credentials of the dialect, or those with a scope.
    Some,
}

/// Reads the annotation's security, or writes down that of the dialect.
pub(super) fn secure(dialect: DialectRef, operation: &mut Value) -> Access {
    match operation["security"].as_array().map(Vec::as_slice) {
        Some([requirement])
            if requirement
                .as_object()
                .is_some_and(serde_json::Map::is_empty) =>
        {
            operation["security"] = json!([]);
            Access::Open
        }
        Some(_) => Access::Some,
        None => {
            operation["security"] = dialect.security();
            Access::Anyone
        }
    }
}

/// Tells the role that a caller needs beside its credential, where that is more than a member's: that of the scopes, and what the
/// annotation says of sessions.
pub(super) fn tell_role(operation: &mut Value) {
    let mut least = Role::User;
    for requirement in operation["security"].as_array_mut().into_iter().flatten() {
        for (scheme, needed) in requirement.as_object_mut().into_iter().flatten() {
            let names = needed.as_array().into_iter().flatten();
            let roles = names.filter_map(|name| match scheme.as_str() {
                "Session" => serde_json::from_value(name.clone()).ok(),
                _ => name.as_str().map(least_role),
            });
            least = roles.chain([least]).max().unwrap_or(least);
            if scheme == "Session" {
                *needed = json!([]);
            }
        }
    }
    if least > Role::User {
        operation["x-least-role"] = least.as_str().into();
    }
}

/// Adds the parameters that `serve` reads for all operations alike.
pub(super) fn add_parameters(
    dialect: DialectRef,
    method: &str,
    access: Access,
    operation: &mut Value,
) {
    let mut common = Vec::new();
    if access != Access::Open {
        if dialect.takes_product_id() {
            common.push("ProductId");
        }
        if dialect.takes_organization_id() {
            common.push("OrganizationId");
        }
        if method == "post" {
            common.push("IdempotencyKey");
        }
    }
    if common.is_empty() {
        return;
    }
    let mut parameters = match operation["parameters"].take() {
        Value::Array(parameters) => parameters,
        _ => Vec::new(),
    };
    parameters.extend(
        common
            .into_iter()
            .map(|name| json!({"$ref": format!("#/components/parameters/{name}")})),
    );
    operation["parameters"] = parameters.into();
}

/// Tells whether any parameter of an operation `matches`.
pub(super) fn has_parameter(operation: &Value, matches: impl Fn(&Value) -> bool) -> bool {
    operation["parameters"]
        .as_array()
        .is_some_and(|parameters| parameters.iter().any(matches))
}
