//! A schema as the graph of its subschemas.
//!
//! Keywords count in whatever draft they have a meaning, so that the graph has at least what validation walks through.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::payload::MAX_DEPTH;

/// The part of a schema's own text that an error repeats, in characters.
const MAX_SHOWN: usize = 200;

/// Unique items are hashed whole, and up to fifteen are compared with each other; where lists lie in lists, at each level again.
const UNIQUE_WORK: u64 = 4 * MAX_DEPTH as u64;
/// A format, such as that of an address, is parsed.
const FORMAT_READS: u64 = 8;

/// The way in which a subschema is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// To the same value, together with others.
    Combined,
    /// To the same value, by a reference.
    Referred,
    /// To parts of the value to which no other of its siblings is applied.
    Apart,
    /// To parts of the value to which others may be applied as well.
    Overlapping,
}

impl Applied {
    /// Returns `true` if it is to the same value.
    pub(super) fn is_in_place(self) -> bool {
        matches!(self, Self::Combined | Self::Referred)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) to: usize,
    pub(super) applied: Applied,
}

#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) schema: &'a Value,
    pub(super) edges: Vec<Edge>,
    /// Its place: behind which node and keyword, for errors.
    from: Option<(usize, &'a str)>,
}

impl<'a> Node<'a> {
    /// Returns `true` if a keyword of it evaluates again what is in place.
    pub(super) fn evaluates_again(&self) -> bool {
        let has = |name| self.schema.get(name).is_some();
        has("unevaluatedProperties") || has("unevaluatedItems")
    }

    /// The most looks at each part of a value. One look takes some ten nanoseconds.
    pub(super) fn work(&self) -> u64 {
        let unique = if self.wants_unique_items() {
            UNIQUE_WORK
        } else {
            0
        };
        1 + unique + self.compared_values() / 4
    }

    /// The most reads of each byte of text, or the time of as many. Patterns are not counted.
    pub(super) fn reads(&self) -> u64 {
        let has = |name: &str| u64::from(self.schema.get(name).is_some());
        let lengths = has("minLength") + has("maxLength");
        let compared = has("const") + has("enum");
        let unique = if self.wants_unique_items() {
            MAX_DEPTH as u64
        } else {
            0
        };
        lengths + compared + unique + has("format") * FORMAT_READS
    }

    fn wants_unique_items(&self) -> bool {
        self.schema.get("uniqueItems") == Some(&Value::Bool(true))
    }

    /// The values of its own that a value is compared with.
    fn compared_values(&self) -> u64 {
        let own = [
            "enum",
            "const",
            "required",
            "dependentRequired",
            "dependencies",
        ];
        own.into_iter()
            .filter_map(|name| self.schema.get(name))
            .map(count)
            .sum()
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = &'a str> {
        let pattern = self.schema.get("pattern").and_then(Value::as_str);
        let names = self
            .schema
            .get("patternProperties")
            .and_then(Value::as_object);
        let names = names.into_iter().flatten().map(|(name, _)| name.as_str());
        pattern.into_iter().chain(names)
    }
}

/// The subschemas that a schema can apply; the first is itself.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
}

impl<'a> Graph<'a> {
    /// # Errors
    /// The text for people: a reference that does not lead to a place within the schema.
    pub(super) fn of(schema: &'a Value) -> Result<Self, String> {
        let mut building = Building {
            places: Places::of(schema)?,
            nodes: Vec::new(),
            known: HashMap::new(),
        };
        building.node(schema, None);
        let mut next = 0;
        while next < building.nodes.len() {
            building.connect(next)?;
            next += 1;
        }
        Ok(Self {
            nodes: building.nodes,
        })
    }

    /// A place in words: keywords and names, from the outermost on.
    pub(super) fn place(&self, mut node: usize) -> String {
        let mut words = Vec::new();
        while let Some((parent, word)) = self.nodes[node].from {
            words.push(word);
            node = parent;
        }
        words.reverse();
        match words.as_slice() {
            [] => "at its root".to_owned(),
            words => format!("at {}", shortened(&words.join("/"))),
        }
    }
}

struct Building<'a> {
    places: Places<'a>,
    nodes: Vec<Node<'a>>,
    /// Nodes by the address of their schema, which stays where it is meanwhile.
    known: HashMap<usize, usize>,
}

impl<'a> Building<'a> {
    fn node(&mut self, schema: &'a Value, from: Option<(usize, &'a str)>) -> usize {
        match self.known.entry(std::ptr::from_ref(schema) as usize) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let index = self.nodes.len();
                place.insert(index);
                self.nodes.push(Node {
                    schema,
                    edges: Vec::new(),
                    from,
                });
                index
            }
        }
    }

    fn connect(&mut self, index: usize) -> Result<(), String> {
        let Some(schema) = self.nodes[index].schema.as_object() else {
            return Ok(());
        };
        let mut edges = Vec::new();
        for (keyword, value) in schema {
            if matches!(keyword.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") {
                // What is no text is no schema, which is found out later.
                if let Some(reference) = value.as_str() {
                    let target = self.places.find(reference)?;
                    edges.push((keyword.as_str(), target, Applied::Referred));
                }
                continue;
            }
            let Some(applied) = applied(keyword) else {
                continue;
            };
            match value {
                Value::Object(members) if has_schemas_by_name(keyword) => {
                    edges.extend(
                        members
                            .iter()
                            .map(|(name, member)| (name.as_str(), member, applied)),
                    );
                }
                Value::Array(items) => {
                    edges.extend(items.iter().map(|item| (keyword.as_str(), item, applied)));
                }
                Value::Object(_) | Value::Bool(_) => edges.push((keyword, value, applied)),
                _ => {}
            }
        }
        for (word, target, applied) in edges {
            // A list of names among `dependencies`, for one.
            if target.is_object() || target.is_boolean() {
                let to = self.node(target, Some((index, word)));
                self.nodes[index].edges.push(Edge { to, applied });
            }
        }
        Ok(())
    }
}

/// The way in which a keyword applies the schemas that it has; `None` for one that has none.
fn applied(keyword: &str) -> Option<Applied> {
    Some(match keyword {
        "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas"
        | "dependencies" => Applied::Combined,
        "properties" | "additionalProperties" | "items" | "prefixItems" | "additionalItems" => {
            Applied::Apart
        }
        "patternProperties"
        | "propertyNames"
        | "contains"
        | "unevaluatedProperties"
        | "unevaluatedItems"
        | "contentSchema" => Applied::Overlapping,
        _ => return None,
    })
}

fn has_schemas_by_name(keyword: &str) -> bool {
    matches!(
        keyword,
        "properties" | "patternProperties" | "dependentSchemas" | "dependencies"
    )
}

/// The targets of references.
struct Places<'a> {
    root: &'a Value,
    /// The schema's own address, by which it may name itself.
    id: &'a str,
    anchors: HashMap<&'a str, &'a Value>,
}

impl<'a> Places<'a> {
    fn of(root: &'a Value) -> Result<Self, String> {
        let text = |name: &str| root.get(name).and_then(Value::as_str);
        let is_draft_4 = text("$schema").is_some_and(|draft| draft.contains("draft-04"));
        let id = text("$id").or_else(|| text("id").filter(|_| is_draft_4));
        let mut places = Self {
            root,
            id: id.unwrap_or_default().trim_end_matches('#'),
            anchors: HashMap::new(),
        };
        if let Value::Object(members) = root {
            places.note_anchors(root, members)?;
            for member in members.values() {
                places.look_into(member, is_draft_4)?;
            }
        }
        Ok(places)
    }

    /// Notes the anchors of a part of the schema, which has no address of its own: references in it would lead elsewhere.
    fn look_into(&mut self, part: &'a Value, is_draft_4: bool) -> Result<(), String> {
        match part {
            Value::Array(items) => items
                .iter()
                .try_for_each(|item| self.look_into(item, is_draft_4)),
            Value::Object(members) => {
                let names: &[_] = if is_draft_4 {
                    &["$id", "$schema", "id"]
                } else {
                    &["$id", "$schema"]
                };
                for name in names {
                    if members.get(*name).is_some_and(Value::is_string) {
                        return Err(format!("has {name} elsewhere than at its root"));
                    }
                }
                self.note_anchors(part, members)?;
                members
                    .values()
                    .try_for_each(|member| self.look_into(member, is_draft_4))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn note_anchors(
        &mut self,
        part: &'a Value,
        members: &'a Map<String, Value>,
    ) -> Result<(), String> {
        for keyword in ["$anchor", "$dynamicAnchor"] {
            if let Some(name) = members.get(keyword).and_then(Value::as_str)
                && self.anchors.insert(name, part).is_some()
            {
                return Err(format!("has two anchors {}", shortened(name)));
            }
        }
        Ok(())
    }

    fn find(&self, reference: &str) -> Result<&'a Value, String> {
        let local = match reference.strip_prefix(self.id) {
            Some(rest) if !self.id.is_empty() && (rest.is_empty() || rest.starts_with('#')) => rest,
            _ => reference,
        };
        let found = match local.strip_prefix('#') {
            None if local.is_empty() => Some(self.root),
            None => {
                let reference = shortened(reference);
                return Err(format!(
                    "refers to {reference}: references lead to places within the schema, #/…"
                ));
            }
            Some("") => Some(self.root),
            Some(fragment) => {
                let fragment = percent_decode_str(fragment).decode_utf8_lossy();
                if fragment.starts_with('/') {
                    self.root.pointer(&fragment)
                } else {
                    self.anchors.get(&*fragment).copied()
                }
            }
        };
        found.ok_or_else(|| format!("refers to {}, which it does not have", shortened(reference)))
    }
}

fn count(value: &Value) -> u64 {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// As much of a text as is shown to people.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
