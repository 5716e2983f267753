//! The API documents: what the handlers' annotations say, in the envelopes of their dialects.
//!
//! Annotations describe bare data, as handlers return it. [`document`] adds what a dialect adds: envelopes, errors, credentials,
//! rate-limit headers. An annotation may say more:
//!
//! - `security(())`: open to all callers; `security(("Session" = []))`: for user sessions only; `security(("Session" = ["ADMIN"]))`:
//!   for those of administrators; `security(("AgentPlatformKey" = ["agents:read"]))`: needs the scope. Without it, the operation
//!   takes what the dialect accepts.
//! - A response of 4xx without a body: beside the errors that every operation of its kind has.
//! - `extensions(("x-bare" = json!(true)))`: the answer stays outside any envelope.
//!
//! An operation with a `cursor` parameter answers with a page of a list; any other array is one value.

mod components;
mod envelopes;
mod errors;
mod requests;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use crate::dialects::{DialectRef, dialect_of};

/// The head of a document.
#[derive(Clone, Copy, Debug)]
pub struct DocumentInfo<'a> {
    pub title: &'a str,
    pub description: &'a str,
    /// The root of the API as seen from the document, so that it is right behind any domain and stage.
    pub root: &'a str,
    /// The root's public URL, where that is known.
    pub public_url: Option<&'a str>,
    /// The tags of operations, in the order in which readers see them, with what is said of each.
    pub tags: &'a [(&'a str, &'a str)],
}

/// Two groups describe different things by one name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0} is described twice, differently")]
pub struct Collision(String);

/// Makes one document of the groups' operations whose path is among the wanted.
///
/// # Errors
/// Two groups have the same operation, or different schemas of the same name.
pub fn document(
    groups: impl IntoIterator<Item = OpenApi>,
    info: &DocumentInfo<'_>,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Value, Collision> {
    let (mut paths, mut schemas) = (Map::new(), components::schemas());
    for group in groups {
        let mut group = serde_json::to_value(group).unwrap_or_default();
        for (path, mut item) in taken(&mut group["paths"]) {
            if !is_wanted(&path) {
                continue;
            }
            let dialect = dialect_of(&path);
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                complete(dialect, method, operation);
            }
            add(&mut paths, path, item)?;
        }
        for (name, schema) in taken(&mut group["components"]["schemas"]) {
            add(&mut schemas, name, schema)?;
        }
    }

    let mut servers = vec![json!({"url": info.root, "description": "This deployment"})];
    servers.extend(info.public_url.map(|url| json!({ "url": url })));
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": info.title,
            "description": info.description,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": servers,
        "tags": tags(&paths, info.tags),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": components::responses(),
            "parameters": components::parameters(),
            "headers": components::headers(),
            "securitySchemes": components::security_schemes(),
        },
    });
    drop_unused(&mut document);
    Ok(document)
}

/// Gives an operation what its dialect adds.
fn complete(dialect: DialectRef, method: &str, operation: &mut Value) {
    let access = requests::secure(dialect, operation);
    requests::tell_role(operation);
    requests::add_parameters(dialect, method, access, operation);
    envelopes::wrap(dialect, access, operation);
    errors::add(dialect, method, access, operation);
}

fn taken(value: &mut Value) -> Map<String, Value> {
    match value.take() {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Adds what is not there yet; the members of two path items go together.
fn add(all: &mut Map<String, Value>, name: String, new: Value) -> Result<(), Collision> {
    let is_path = name.starts_with('/');
    match all.get_mut(&name) {
        None => {
            all.insert(name, new);
        }
        Some(known) if *known == new => {}
        Some(Value::Object(known)) if is_path => {
            for (method, operation) in new.as_object().into_iter().flatten() {
                if known.insert(method.clone(), operation.clone()).is_some() {
                    return Err(Collision(format!("{method} {name}")));
                }
            }
        }
        Some(_) => return Err(Collision(name)),
    }
    Ok(())
}

/// The tags that the operations have, described.
fn tags(paths: &Map<String, Value>, described: &[(&str, &str)]) -> Vec<Value> {
    let operations = paths
        .values()
        .flat_map(|item| item.as_object().into_iter().flat_map(Map::values));
    let mut names: BTreeSet<&str> = operations
        .filter_map(|operation| operation["tags"][0].as_str())
        .collect();
    let described = described.iter().filter(|(name, _)| names.remove(name));
    let mut tags: Vec<Value> = described
        .map(|(name, description)| json!({ "name": name, "description": description }))
        .collect();
    tags.extend(names.into_iter().map(|name| json!({ "name": name })));
    tags
}

/// Takes away the components that nothing refers to.
fn drop_unused(document: &mut Value) {
    let mut used = BTreeSet::new();
    collect_references(&document["paths"], document, &mut used);
    for kind in ["schemas", "responses", "parameters", "headers"] {
        if let Some(all) = document["components"][kind].as_object_mut() {
            all.retain(|name, _| used.contains(&format!("#/components/{kind}/{name}")));
        }
    }
    let paths = document["paths"].to_string();
    if let Some(all) = document["components"]["securitySchemes"].as_object_mut() {
        all.retain(|name, _| paths.contains(&format!("\"{name}\":[")));
    }
}

fn collect_references(value: &Value, document: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str)
                && found.insert(reference.to_owned())
                && let Some(target) = document.pointer(reference.trim_start_matches('#'))
            {
                collect_references(target, document, found);
            }
            for member in members.values() {
                collect_references(member, document, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_references(item, document, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
