//! Chat completions in pieces.

use serde_json::{Map, Value, json};

use super::text_of;
use crate::secrecy::Telling;
use crate::stream::{Assembly, Fault, taken};

/// A completion as far as it has come.
#[derive(Default)]
pub(crate) struct Pieces {
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
    /// What else there is, such as a signature of the thought behind it.
    rest: Map<String, Value>,
}

impl Assembly for Pieces {
    fn take(&mut self, mut event: Value, telling: &mut Telling<'_>) -> Result<(), Fault> {
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
                    telling.say(&text)?;
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
            let calls = self.calls.into_iter().map(Call::whole).collect();
            self.message.insert("tool_calls".to_owned(), calls);
        }
        json!({
            "choices": [{ "message": self.message, "finish_reason": self.finish_reason }],
            "usage": self.usage,
        })
    }
}

impl Pieces {
    /// Adds a piece to what there is: texts and lists go on, anything else is replaced.
    fn merge(&mut self, key: String, piece: Value) {
        match (self.message.get_mut(&key), piece) {
            (Some(Value::String(text)), Value::String(piece)) => text.push_str(&piece),
            (Some(Value::Array(list)), Value::Array(pieces)) => list.extend(pieces),
            (_, piece) => drop(self.message.insert(key, piece)),
        }
    }

    fn take_call(&mut self, mut piece: Value) {
        let index = piece["index"].as_u64();
        let id = piece["id"].as_str().unwrap_or_default().to_owned();
        // Some services give all calls the same index, and some none.
        let known = self.calls.iter().rposition(|call| {
            let is_here = index.is_none() || call.index == index;
            is_here && (id.is_empty() || call.id.is_empty() || call.id == id)
        });
        let known = known.unwrap_or_else(|| {
            self.calls.push(Call::default());
            self.calls.len() - 1
        });
        let call = &mut self.calls[known];
        call.index = index;
        if call.id.is_empty() {
            call.id = id;
        }
        if let Some(name) = piece["function"]["name"].as_str()
            && call.name.is_empty()
        {
            call.name = name.to_owned();
        }
        match (
            &mut call.arguments,
            taken(&mut piece, "/function/arguments"),
        ) {
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
    fn whole(self) -> Value {
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
