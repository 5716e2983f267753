//! Chat completions in pieces.

use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::{id_of, text_of};
use crate::redact::RedactingSink;
use crate::stream::{Assembly, Fault, taken};

/// A completion as far as it has come.
#[derive(Default)]
pub(crate) struct StreamAccumulator {
    message: Map<String, Value>,
    calls: Vec<Call>,
    finish_reason: Option<String>,
    usage: Value,
}

/// A call as far as it has come.
#[derive(Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: Value,
    /// Other content, such as a signature of the thought behind it.
    rest: Map<String, Value>,
}

impl Assembly for StreamAccumulator {
    fn take(&mut self, mut event: Value, sink: &mut RedactingSink<'_>) -> Result<(), Fault> {
        if !event["error"].is_null() {
            return Err(Fault::Told(taken(&mut event, "/error")));
        }
        if event["usage"].is_object() {
            self.usage = taken(&mut event, "/usage");
        }
        // Only one is ever asked for; an event with the usage, or with a filter's report, has none.
        let mut choice = taken(&mut event, "/choices/0");
        if let Some(reason) = choice["finish_reason"].as_str()
            && !reason.is_empty()
        {
            self.finish_reason = Some(reason.to_owned());
        }
        let Value::Object(delta) = taken(&mut choice, "/delta") else {
            return Ok(());
        };
        for (key, value) in delta {
            match (key.as_str(), value) {
                (_, Value::Null) => {}
                ("content", value) => {
                    let text = text_of(Some(&value));
                    sink.say(&text)?;
                    self.merge(key, Value::String(text));
                }
                ("tool_calls", Value::Array(calls)) => {
                    calls.into_iter().for_each(|call| self.take_call(call));
                }
                ("role", value) => drop(self.message.insert(key, value)),
                (_, value) => self.merge(key, value),
            }
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.finish_reason.is_some()
    }

    fn body(mut self) -> Value {
        if !self.calls.is_empty() {
            let calls = self.calls.into_iter().map(Call::finish).collect();
            self.message.insert("tool_calls".to_owned(), calls);
        }
        json!({
            "choices": [{ "message": self.message, "finish_reason": self.finish_reason }],
            "usage": self.usage,
        })
    }
}

impl StreamAccumulator {
    /// Adds a piece to what there is: texts and lists go on, anything else is replaced.
    fn merge(&mut self, key: String, piece: Value) {
        match (self.message.get_mut(&key), piece) {
            (Some(Value::String(text)), Value::String(piece)) => text.push_str(&piece),
            (Some(Value::Array(list)), Value::Array(pieces)) => list.extend(pieces),
            (_, piece) => drop(self.message.insert(key, piece)),
        }
    }

    /// Takes a piece of a call: the next one of a call that there is, or the first of another.
    fn take_call(&mut self, mut piece: Value) {
        let index = piece["index"].as_u64();
        let id = id_of(piece["id"].as_str().unwrap_or_default()).to_owned();
        let name = piece["function"]["name"].as_str().unwrap_or_default();
        let name = name.to_owned();
        let arguments = taken(&mut piece, "/function/arguments");
        // Some services give all calls the same index, and some none; some give no ids.
        let is_here = |call: &Call| index.is_none() || call.index.is_none() || call.index == index;
        let has_id = |call: &Call| !id.is_empty() && call.id == id;
        let may_be = |call: &Call| id.is_empty() || call.id.is_empty();
        let calls = &self.calls;
        let known = calls.iter().rposition(|call| is_here(call) && has_id(call));
        let known = known.or_else(|| calls.iter().rposition(|call| is_here(call) && may_be(call)));
        let known =
            known.filter(|known| !calls[*known].is_followed_by(index, &id, &name, &arguments));
        let known = known.unwrap_or_else(|| {
            self.calls.push(Call::default());
            self.calls.len() - 1
        });
        let call = &mut self.calls[known];
        call.index = index.or(call.index);
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        match (&mut call.arguments, arguments) {
            (_, Value::Null) => {}
            (Value::String(text), Value::String(piece)) => text.push_str(&piece),
            (arguments, piece) => *arguments = piece,
        }
        if let Value::Object(piece) = piece {
            let is_more = |key: &str| !["index", "id", "type", "function"].contains(&key);
            let rest = piece.into_iter();
            call.rest
                .extend(rest.filter(|(key, value)| is_more(key) && !value.is_null()));
        }
    }
}

impl Call {
    /// Returns `true` if a piece that has no id, or the first one, begins another call: a name begins one. Where services repeat the name
    /// with every piece, it does so once the arguments have their end.
    fn is_followed_by(&self, index: Option<u64>, id: &str, name: &str, arguments: &Value) -> bool {
        if name.is_empty() || self.name.is_empty() || (!id.is_empty() && self.id == id) {
            return false;
        }
        if name != self.name {
            return true;
        }
        let has_none = |arguments: &Value| {
            arguments
                .as_str()
                .map_or(arguments.is_null(), str::is_empty)
        };
        if has_none(&self.arguments) || has_none(arguments) {
            // What has an index says by it when there is another call.
            return index.is_none();
        }
        match &self.arguments {
            // Arguments are an object. Other pieces end none, and to parse the text at each would take time by its square.
            Value::String(text) => {
                text.trim_end().ends_with('}') && serde_json::from_str::<IgnoredAny>(text).is_ok()
            }
            _ => true,
        }
    }

    fn finish(self) -> Value {
        let mut call = self.rest;
        let arguments = match self.arguments {
            Value::Null => json!(""),
            arguments => arguments,
        };
        call.insert("id".to_owned(), json!(self.id));
        call.insert("type".to_owned(), json!("function"));
        let function = json!({ "name": self.name, "arguments": arguments });
        call.insert("function".to_owned(), function);
        Value::Object(call)
    }
}
