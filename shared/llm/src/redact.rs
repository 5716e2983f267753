//! Keeping a key out of what is told and kept: a service that echoes its requests shall not get it into a journal.

use domain::credential::ProviderSecret;
use outbound::MAX_REPLY;
use serde_json::Value;

use crate::{ModelError, ModelResponse};

/// The text in place of the key.
const HIDDEN: &str = "…";

/// `text` without the key.
pub(crate) fn hide(text: &str, secret: Option<&ProviderSecret>) -> String {
    match secret {
        Some(secret) => text.replace(secret.expose(), HIDDEN),
        None => text.to_owned(),
    }
}

/// Takes the key out of everything that an answer says.
pub(crate) fn hide_in_answer(answer: &mut ModelResponse, secret: Option<&ProviderSecret>) {
    let Some(secret) = secret.map(ProviderSecret::expose) else {
        return;
    };
    hide_in_text(&mut answer.text, secret);
    for call in &mut answer.tool_calls {
        hide_in_text(&mut call.id, secret);
        hide_in_text(&mut call.tool, secret);
        hide_in_value(&mut call.arguments, secret);
    }
    if let Some(content) = &mut answer.content {
        hide_in_value(&mut content.content, secret);
    }
}

/// Takes the key out of what a service says went wrong.
pub(crate) fn hide_in_error(error: ModelError, secret: &ProviderSecret) -> ModelError {
    let hide = |why: String| hide(&why, Some(secret));
    match error {
        ModelError::Refused(why) => ModelError::Refused(hide(why)),
        ModelError::Unavailable { why, retry_after } => ModelError::Unavailable {
            why: hide(why),
            retry_after,
        },
    }
}

fn hide_in_text(text: &mut String, secret: &str) {
    if text.contains(secret) {
        *text = text.replace(secret, HIDDEN);
    }
}

pub(crate) fn hide_in_value(value: &mut Value, secret: &str) {
    match value {
        Value::String(text) => hide_in_text(text, secret),
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| hide_in_value(value, secret)),
        Value::Object(members) => {
            if members.keys().any(|key| key.contains(secret)) {
                *members = std::mem::take(members)
                    .into_iter()
                    .map(|(key, value)| (key.replace(secret, HIDDEN), value))
                    .collect();
            }
            members
                .values_mut()
                .for_each(|value| hide_in_value(value, secret));
        }
        _ => {}
    }
}

/// Tells of an answer's text as it comes, less the key, even where its letters come in different pieces.
pub(crate) struct RedactingSink<'a> {
    secret: Option<&'a str>,
    /// The text that may be the beginning of the key.
    held: String,
    heard: usize,
    on_text: &'a mut (dyn FnMut(&str) + Send),
}

impl<'a> RedactingSink<'a> {
    /// Takes the key out of something that is not text of the answer.
    pub(crate) fn hide(&self, value: &mut Value) {
        if let Some(secret) = self.secret {
            hide_in_value(value, secret);
        }
    }

    pub(crate) fn new(
        secret: Option<&'a ProviderSecret>,
        on_text: &'a mut (dyn FnMut(&str) + Send),
    ) -> Self {
        Self {
            secret: secret.map(ProviderSecret::expose),
            held: String::new(),
            heard: 0,
            on_text,
        }
    }

    /// Returns `true` if there was any text so far.
    pub(crate) fn has_begun(&self) -> bool {
        self.heard > 0
    }

    /// Hears the next piece.
    ///
    /// # Errors
    /// The text is larger than any reply may be.
    pub(crate) fn say(&mut self, piece: &str) -> Result<(), ModelError> {
        self.heard += piece.len();
        if self.heard > MAX_REPLY {
            return Err(outbound::OutboundError::TooLarge(MAX_REPLY).into());
        }
        let Some(secret) = self.secret else {
            self.tell(piece);
            return Ok(());
        };
        self.held.push_str(piece);
        if self.held.contains(secret) {
            self.held = self.held.replace(secret, HIDDEN);
        }
        let kept = beginning_at_end(&self.held, secret);
        let rest = self.held.split_off(self.held.len() - kept);
        let clear = std::mem::replace(&mut self.held, rest);
        self.tell(&clear);
        Ok(())
    }

    /// Tells what was held back: nothing more comes.
    pub(crate) fn end(mut self) {
        let held = std::mem::take(&mut self.held);
        self.tell(&held);
    }

    fn tell(&mut self, piece: &str) {
        if !piece.is_empty() {
            (self.on_text)(piece);
        }
    }
}

/// The most bytes at the end of `text` that are the beginning of `secret`. A secret is ASCII.
fn beginning_at_end(text: &str, secret: &str) -> usize {
    let longest = text.len().min(secret.len().saturating_sub(1));
    (1..=longest)
        .rev()
        .find(|&length| text.as_bytes().ends_with(&secret.as_bytes()[..length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use domain::run::ToolCall;
    use serde_json::json;

    use super::*;

    fn secret() -> ProviderSecret {
        ProviderSecret::try_from("sk-sk-sk-1234".to_owned()).unwrap()
    }

    #[test]
    fn a_key_in_any_pieces_is_not_told_and_all_else_is() {
        let text = "skip sk-sk-sk-sk-1234, sk-sk-1234 and sk-sk-sk-1234sk-sk-sk-123";
        let expected = hide(text, Some(&secret()));
        assert_eq!(expected, "skip sk-…, sk-sk-1234 and …sk-sk-sk-123");
        for size in 1..text.len() {
            let mut told = String::new();
            let (secret, mut on_text) = (secret(), |piece: &str| told.push_str(piece));
            let mut sink = RedactingSink::new(Some(&secret), &mut on_text);
            for piece in text.as_bytes().chunks(size) {
                sink.say(std::str::from_utf8(piece).unwrap()).unwrap();
            }
            sink.end();
            assert_eq!(told, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn text_without_the_key_is_told_at_once_and_not_without_end() {
        let mut told = 0;
        let mut on_text = |piece: &str| told += piece.len();
        let secret = secret();
        let mut sink = RedactingSink::new(Some(&secret), &mut on_text);
        let piece = "ä".repeat(MAX_REPLY / 4);
        assert_eq!(sink.say(&piece), Ok(()));
        assert_eq!(sink.say(&piece), Ok(()));
        assert!(matches!(sink.say("x"), Err(ModelError::Refused(_))));
        assert_eq!(told, MAX_REPLY);
    }

    #[test]
    fn nothing_that_is_kept_has_the_key_in_it() {
        let mut answer = ModelResponse {
            text: "It is sk-sk-sk-1234.".to_owned(),
            tool_calls: vec![ToolCall {
                id: "sk-sk-sk-1234".to_owned(),
                tool: "sk-sk-sk-1234".to_owned(),
                arguments: json!({ "sk-sk-sk-1234": ["sk-sk-sk-1234", 1] }),
            }],
            ..ModelResponse::default()
        };
        hide_in_answer(&mut answer, Some(&secret()));
        assert!(!format!("{answer:?}").contains("1234"), "{answer:?}");
        assert_eq!(answer.tool_calls[0].arguments, json!({ "…": ["…", 1] }));
    }
}
