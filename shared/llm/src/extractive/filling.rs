//! Placeholders in directives: `{{input.path}}` stands for that part of the run's input, which other people wrote.
//!
//! It never leaves its place: in a URL it is a segment of the path or a value of the query, in a body of JSON, of a form or of XML
//! it is a value or a part of one. A text that is nothing but a placeholder takes the value as it is, whatever its type.

use domain::payload::MAX_PAYLOAD;
use serde_json::{Map, Value};

use super::places::{Place, Text, kind_of_body, placeholder};

/// The part of the input that all directives of a conversation may take up, in bytes.
const MAX_FILLED: usize = 2 * MAX_PAYLOAD;

/// Puts parts of the input where templates name them.
pub(super) struct Filler<'v> {
    input: &'v Value,
    /// The number of bytes that may still be put in: a short template can name a long input often.
    budget: usize,
}

impl<'v> Filler<'v> {
    pub(super) fn of(input: &'v Value) -> Self {
        Self {
            input,
            budget: MAX_FILLED,
        }
    }

    /// The arguments of a call, filled in.
    ///
    /// # Errors
    /// Why they cannot be filled, in words for the user.
    pub(super) fn fill(
        &mut self,
        tool: &str,
        mut arguments: Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        let is_request = tool == "http_request";
        let body = if is_request {
            kind_of_body(&arguments)
        } else {
            Place::Plain
        };
        for (name, argument) in &mut arguments {
            let place = match name.as_str() {
                "url" if is_request => Place::Url,
                "body" if is_request => body,
                _ => Place::Plain,
            };
            match argument {
                Value::String(text) => {
                    if let Some(filled) = self.fill_text(text, place)? {
                        *argument = filled;
                    }
                }
                // Its texts are values already, and are written as such later.
                other => self.fill_value(other)?,
            }
        }
        Ok(arguments)
    }

    fn fill_value(&mut self, template: &mut Value) -> Result<(), String> {
        match template {
            Value::String(text) => {
                if let Some(filled) = self.fill_text(text, Place::Plain)? {
                    *template = filled;
                }
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill_value(item)),
            Value::Object(fields) => fields
                .values_mut()
                .try_for_each(|field| self.fill_value(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    /// `None` when the text has no placeholder.
    fn fill_text(&mut self, template: &str, place: Place) -> Result<Option<Value>, String> {
        let mut text = Text::new(place);
        let mut rest = template;
        while let Some((before, path, after)) = placeholder(rest) {
            let value =
                look_up(self.input, path).ok_or_else(|| format!("the input has no `{path}`"))?;
            let written = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            self.budget = self
                .budget
                .checked_sub(written.len())
                .ok_or("it would repeat too much of the input")?;
            if before.len() + after.len() == 0 && rest.len() == template.len() {
                return Ok(Some(value.clone()));
            }
            text.push_template(before)?;
            text.push_value(value, &written)?;
            rest = after;
        }
        if rest.len() == template.len() {
            return Ok(None);
        }
        text.push_template(rest)?;
        text.finish().map(Value::String).map(Some)
    }
}

fn look_up<'v>(input: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.')
        .skip(1)
        .try_fold(input, |value, name| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            other => other.get(name),
        })
}
