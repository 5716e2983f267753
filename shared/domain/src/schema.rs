//! JSON Schemas that tenants write: bounded before they are compiled, and applied within bounds.
//!
//! A schema is a program. `$ref` doubles what is to be done at each level, recursion under a combinator does so at each level of
//! the value, `unevaluatedProperties` evaluates what is beside it again, and a thread that validates cannot be ended. So nothing
//! is compiled before its graph of subschemas is known to be small, seen as the tree that validation walks through
//! ([`check`]), and nothing is validated that is too large for its schema ([`Schema::accept`]).

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use graph::{Graph, shortened};

mod bounds;
mod graph;
mod patterns;
#[cfg(test)]
mod tests;

/// The number of subschemas that a schema may apply, each counted as often as it is applied.
pub const MAX_NODES: u64 = 2_000;
/// The number of times that a subschema may look at a part of a value; about a second.
const MAX_WORK: u64 = 100_000_000;
/// Up to this much work it is found out why a value does not fit: an error has some hundred bytes, and each branch of a combinator
/// makes one.
const MAX_EXPLAINED: u64 = 200_000;
/// The most that bytes of text may be, each counted as often as a keyword reads it; about a second.
const MAX_READ: u64 = 1_000_000_000;
/// The most that bytes of compiled patterns times bytes of text may be; about three seconds of matching.
const MAX_MATCHING: u64 = 20_000_000_000;

/// Checks that a schema is bounded, in time that is linear in its size. It may still be none.
///
/// # Errors
/// The text for people: which bound it breaks, and where.
pub fn check(schema: &Value) -> Result<(), String> {
    bounds::check(&Graph::of(schema)?)
}

/// A schema that is bounded and compiled.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    /// The number of looks at a part of a value.
    work: u64,
    /// The number of reads of a byte of text, patterns aside.
    reads: u64,
    /// The size of its patterns, each counted as often as it is applied.
    patterns: u64,
}

impl Schema {
    /// Compiles a schema of draft 4, 6, 7, 2019-09 or 2020-12, the last unless `$schema` says otherwise. References lead to places
    /// within it. Patterns match in linear time, so they have neither look-around nor back-references.
    ///
    /// This takes some milliseconds, and the stack of [`STACK`].
    ///
    /// # Errors
    /// The text for people: why it is no schema, or which bound it breaks.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let graph = Graph::of(schema)?;
        bounds::check(&graph)?;
        let patterns = patterns::total_size(&graph)?;
        let options = PatternOptions::regex().size_limit(patterns::MAX_SIZE);
        let validator = jsonschema::options()
            .with_pattern_options(options)
            // It would compile what a value says.
            .with_format("regex", |_: &str| true)
            // Since draft 2019-09 these say what a text is and demand nothing of it.
            .without_content_media_type_support("application/json")
            .without_content_encoding_support("base64")
            .build(schema)
            .map_err(|error| format!("is not a JSON Schema: {}", shown(&error)))?;
        Ok(Self {
            validator,
            work: bounds::total(&graph, |node| node.work()),
            reads: bounds::total(&graph, |node| node.reads()),
            patterns,
        })
    }

    /// Checks that a value fits. This takes up to some seconds, and the stack of [`STACK`].
    ///
    /// # Errors
    /// The text for people: where the value does not fit, or that it is too large for the schema. It repeats nothing of the value.
    pub fn accept(&self, value: &Value) -> Result<(), String> {
        let size = Size::of(value);
        let work = self.work.saturating_mul(size.parts);
        if work > MAX_WORK
            || self.reads.saturating_mul(size.text) > MAX_READ
            || self.patterns.saturating_mul(size.text) > MAX_MATCHING
        {
            return Err("it is too large to be checked".to_owned());
        }
        if self.validator.is_valid(value) {
            return Ok(());
        }
        if work > MAX_EXPLAINED {
            return Err("it does not fit".to_owned());
        }
        match self.validator.validate(value) {
            Ok(()) => Ok(()),
            Err(error) => {
                let path = error.instance_path().to_string();
                let fault = error.masked().to_string();
                Err(format!("{path} {}", shortened(&fault)))
            }
        }
    }
}

/// The stack that a thread needs to compile schemas and to apply them, in bytes.
pub const STACK: usize = 16 * 1024 * 1024;

/// The properties of a value that a schema looks at.
struct Size {
    /// It and the values in it.
    parts: u64,
    /// Bytes of texts and names.
    text: u64,
}

impl Size {
    fn of(value: &Value) -> Self {
        let mut size = Self { parts: 0, text: 0 };
        size.add(value);
        size
    }

    fn add(&mut self, value: &Value) {
        self.parts += 1;
        match value {
            Value::String(text) => self.text += text.len() as u64,
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.text += name.len() as u64;
                    self.add(field);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn shown(error: &ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    let fault = shortened(&error.to_string());
    if path.is_empty() {
        fault
    } else {
        format!("{fault} (at {})", shortened(&path))
    }
}
