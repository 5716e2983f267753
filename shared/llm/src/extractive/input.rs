//! The text that a run gives the model to read.

use std::borrow::Cow;

use serde_json::Value;

use crate::Message;

/// The members of a JSON input that hold its question and its text.
const QUESTION: [&str; 2] = ["question", "query"];
const TEXT: [&str; 3] = ["text", "document", "content"];

/// The input of a run, and the question to it if there is one.
pub(super) struct Input<'a> {
    /// The first message: what it says as JSON, else its text.
    pub(super) value: Value,
    pub(super) passages: Vec<Passage<'a>>,
    pub(super) question: Option<String>,
}

/// A text of the input.
pub(super) struct Passage<'a> {
    /// The name that the input has for it, if it is telling.
    pub(super) heading: Option<String>,
    pub(super) text: Cow<'a, str>,
}

impl<'a> Input<'a> {
    /// The first user message is the input; the last one, when that is another, is a question to it.
    pub(super) fn of(messages: &'a [Message]) -> Self {
        let mut said = messages.iter().filter_map(|message| match message {
            Message::User { text } => Some(text.as_str()),
            Message::Assistant { .. } | Message::Tool { .. } => None,
        });
        let first = said.next().unwrap_or_default();
        let mut input = match structured(first) {
            Some(value) => Self::of_json(value),
            None => Self::of_text(first),
        };
        if let Some(last) = said.next_back() {
            input.question = Some(last.to_owned());
        }
        input
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::String(text) => text.trim().is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    fn of_text(text: &'a str) -> Self {
        let trimmed = text.trim();
        // A lone question is not a text about itself.
        let is_question = trimmed.ends_with('?') && !trimmed.contains('\n') && trimmed.len() < 300;
        let (passages, question) = if is_question {
            (Vec::new(), Some(trimmed.to_owned()))
        } else {
            (
                vec![Passage {
                    heading: None,
                    text: Cow::Borrowed(text),
                }],
                None,
            )
        };
        Self {
            value: Value::String(text.to_owned()),
            passages,
            question,
        }
    }

    fn of_json(value: Value) -> Self {
        let field = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| value.get(name).filter(|value| !value.is_null()))
        };
        let question = field(&QUESTION).and_then(Value::as_str).map(str::to_owned);
        let mut passages = Vec::new();
        match (field(&TEXT), &value) {
            (Some(Value::String(text)), _) => {
                passages.push(Passage {
                    heading: None,
                    text: Cow::Owned(text.clone()),
                });
            }
            (Some(nested), _) => collect(None, nested, &mut passages),
            // No field that we know: whatever is text.
            (None, Value::Object(fields)) => {
                for (name, field) in fields
                    .iter()
                    .filter(|(name, _)| !QUESTION.contains(&name.as_str()))
                {
                    collect(Some(name), field, &mut passages);
                }
            }
            (None, other) => collect(None, other, &mut passages),
        }
        Self {
            value,
            passages,
            question,
        }
    }
}

/// A message that is a JSON object or list.
pub(super) fn structured(message: &str) -> Option<Value> {
    let trimmed = message.trim_start();
    let value = if trimmed.starts_with(['{', '[']) {
        serde_json::from_str(trimmed).ok()
    } else {
        None
    };
    value.filter(|value: &Value| value.is_object() || value.is_array())
}

fn collect(name: Option<&str>, value: &Value, passages: &mut Vec<Passage<'_>>) {
    match value {
        Value::String(text) => {
            passages.push(Passage {
                heading: name.map(str::to_owned),
                text: Cow::Owned(text.clone()),
            });
        }
        Value::Array(items) => items.iter().for_each(|item| collect(name, item, passages)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, field)| collect(Some(name), field, passages)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
