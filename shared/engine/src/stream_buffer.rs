//! The buffer of a model's answer while it comes: collected here by the call, stored from here by the run's holder.

use std::sync::{Mutex, PoisonError};

use domain::model::ModelName;
use domain::run::StreamChunkEvent;

/// The most text that goes into one stored piece, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// The part of an answer that has come and is not stored.
#[derive(Debug, Default)]
pub(crate) struct StreamBuffer(Mutex<Buffered>);

#[derive(Debug, Default)]
struct Buffered {
    /// The number of times that a model was asked for this answer.
    attempts: u32,
    events: Vec<StreamChunkEvent>,
}

impl StreamBuffer {
    /// Of an answer that was asked for `attempts` times before.
    pub(crate) fn after(attempts: u32) -> Self {
        Self(Mutex::new(Buffered {
            attempts,
            events: Vec::new(),
        }))
    }

    /// A hosted model is asked. One within the process answers at once: there is nothing to tell in between.
    pub(crate) fn asked(&self, model: &ModelName) {
        if *model == ModelName::Extractive {
            return;
        }
        self.with(|buffered| {
            buffered.attempts += 1;
            buffered.events.push(StreamChunkEvent::ModelAsked {
                model: model.clone(),
                attempt: buffered.attempts,
            });
        });
    }

    /// More of its text has come.
    pub(crate) fn text(&self, more: &str) {
        let mut rest = more;
        while rest.len() > MAX_TEXT {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(MAX_TEXT));
            self.piece(piece);
            rest = after;
        }
        self.piece(rest);
    }

    fn piece(&self, more: &str) {
        self.with(|buffered| match buffered.events.last_mut() {
            // No model has been asked over the network.
            None if buffered.attempts == 0 => {}
            Some(StreamChunkEvent::Text { text }) if text.len() + more.len() <= MAX_TEXT => {
                text.push_str(more);
            }
            _ => buffered.events.push(StreamChunkEvent::Text {
                text: more.to_owned(),
            }),
        });
    }

    /// Takes what is to be stored next.
    pub(crate) fn take(&self) -> Vec<StreamChunkEvent> {
        self.with(|buffered| std::mem::take(&mut buffered.events))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Buffered) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_collected_between_attempts() {
        let model: ModelName = "openai/gpt".parse().unwrap();
        let asked = |attempt| StreamChunkEvent::ModelAsked {
            model: model.clone(),
            attempt,
        };
        let text = |text: &str| StreamChunkEvent::Text {
            text: text.to_owned(),
        };
        let buffer = StreamBuffer::after(1);
        buffer.asked(&model);
        buffer.text("One ");
        buffer.text("two");
        buffer.asked(&model);
        buffer.text("Three");
        let buffered = buffer.take();
        assert_eq!(
            buffered,
            [asked(2), text("One two"), asked(3), text("Three")]
        );
        buffer.text(" four");
        assert_eq!(buffer.take(), [text(" four")]);

        buffer.text(&"é".repeat(MAX_TEXT));
        let pieces = buffer.take();
        assert_eq!(pieces.len(), 2, "a long piece has to fit into items");

        let within = StreamBuffer::default();
        within.asked(&ModelName::Extractive);
        within.text("All at once.");
        assert!(within.take().is_empty());
    }
}
