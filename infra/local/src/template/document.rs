//! The template's text as a tree: CloudFormation's short tags in their long form, and `Globals` merged into each resource.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::source_path::Problem;

/// A template that was read, nothing of it evaluated.
pub(super) struct Document {
    /// As written.
    root: Value,
    /// The properties of each resource, with what `Globals` says of its type.
    properties: BTreeMap<String, Value>,
}

impl Document {
    /// Reads YAML (and thereby JSON). The error says line and column.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let yaml = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        let root = long_form(yaml)?;
        let Some(resources) = root.get("Resources").and_then(Value::as_object) else {
            return Err("the template has no Resources".to_owned());
        };
        let properties = resources
            .iter()
            .map(|(id, resource)| (id.clone(), merged_properties(&root, resource)))
            .collect();
        Ok(Self { root, properties })
    }

    /// A top-level section, `Null` if the template has none.
    pub(super) fn section(&self, name: &str) -> &Value {
        self.root.get(name).unwrap_or(&Value::Null)
    }

    /// All logical ids, those of resources whose condition is false included.
    pub(super) fn resource_ids(&self) -> impl Iterator<Item = &str> {
        self.properties.keys().map(String::as_str)
    }

    /// The resource as written, without `Globals`.
    pub(super) fn resource(&self, id: &str) -> Option<&Value> {
        self.section("Resources").get(id)
    }

    pub(super) fn resource_type(&self, id: &str) -> &str {
        self.resource(id)
            .and_then(|resource| resource.get("Type"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(super) fn properties(&self, id: &str) -> &Value {
        self.properties.get(id).unwrap_or(&Value::Null)
    }

    /// Names the place where the author wrote what `problem` is about: a property that only `Globals` has is there.
    pub(super) fn locate(&self, mut problem: Problem) -> Problem {
        let [resources, id, properties, rest @ ..] = problem.place.as_slice() else {
            return problem;
        };
        if resources != "Resources" || properties != "Properties" {
            return problem;
        }
        let within = |root: Option<&Value>| {
            rest.iter()
                .try_fold(root?, |value, segment| child(value, segment))
                .map(drop)
        };
        let written = self
            .resource(id)
            .and_then(|resource| resource.get("Properties"));
        if let Some(section) = globals_section(self.resource_type(id))
            && within(written).is_none()
            && within(self.section("Globals").get(section)).is_some()
        {
            problem.place = ["Globals", section]
                .into_iter()
                .map(str::to_owned)
                .chain(rest.iter().cloned())
                .collect();
        }
        problem
    }
}

fn child<'a>(value: &'a Value, segment: &str) -> Option<&'a Value> {
    match value {
        Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
        other => other.get(segment),
    }
}

fn globals_section(resource_type: &str) -> Option<&'static str> {
    match resource_type {
        "AWS::Serverless::Function" => Some("Function"),
        "AWS::Serverless::Api" => Some("Api"),
        _ => None,
    }
}

fn merged_properties(root: &Value, resource: &Value) -> Value {
    let resource_type = resource
        .get("Type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let globals =
        globals_section(resource_type).and_then(|section| root.get("Globals")?.get(section));
    let own = resource
        .get("Properties")
        .cloned()
        .unwrap_or_else(|| Value::Object(Map::new()));
    match globals {
        Some(globals) => merge(globals.clone(), own),
        None => own,
    }
}

/// SAM's rule: maps are merged, lists are joined, of anything else the resource's own stands.
fn merge(global: Value, own: Value) -> Value {
    match (global, own) {
        (Value::Object(mut global), Value::Object(own))
            if !is_intrinsic(&global) && !is_intrinsic(&own) =>
        {
            for (name, value) in own {
                let value = match global.remove(&name) {
                    Some(inherited) => merge(inherited, value),
                    None => value,
                };
                global.insert(name, value);
            }
            Value::Object(global)
        }
        (Value::Array(mut global), Value::Array(own)) => {
            global.extend(own);
            Value::Array(global)
        }
        (_, own) => own,
    }
}

/// Returns `true` if this map is a function call: one member named `Ref` or `Fn::…`.
pub(super) fn is_intrinsic(map: &Map<String, Value>) -> bool {
    map.len() == 1
        && map
            .keys()
            .all(|name| name == "Ref" || name.starts_with("Fn::"))
}

fn long_form(yaml: serde_yaml_ng::Value) -> Result<Value, String> {
    use serde_yaml_ng::Value as Yaml;
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Number(number) => serde_json::to_value(number).map_err(|error| error.to_string())?,
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => {
            Value::Array(items.into_iter().map(long_form).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(mapping) => {
            let mut map = Map::new();
            for (name, value) in mapping {
                map.insert(member_name(name)?, long_form(value)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let value = long_form(tagged.value)?;
            let (name, value) = match (tag.trim_start_matches('!'), value) {
                (name @ ("Ref" | "Condition"), value) => (name.to_owned(), value),
                ("GetAtt", Value::String(dotted)) => match dotted.split_once('.') {
                    Some((id, attribute)) => {
                        ("Fn::GetAtt".to_owned(), Value::from(vec![id, attribute]))
                    }
                    None => ("Fn::GetAtt".to_owned(), Value::String(dotted)),
                },
                (name, value) => (format!("Fn::{name}"), value),
            };
            Value::Object(Map::from_iter([(name, value)]))
        }
    })
}

fn member_name(yaml: serde_yaml_ng::Value) -> Result<String, String> {
    use serde_yaml_ng::Value as Yaml;
    match yaml {
        Yaml::String(text) => Ok(text),
        Yaml::Number(number) => Ok(number.to_string()),
        Yaml::Bool(value) => Ok(value.to_string()),
        other => Err(format!("{other:?} cannot be a name in a map")),
    }
}
