//! What is seen of a model's answer while it comes: collected here by the call, stored from here by the run's holder.

use std::sync::{Mutex, PoisonError};

use domain::model::ModelName;
use domain::run::PartialEvent;

/// How much text goes into one stored piece, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// What has come of an answer and is not stored.
#[derive(Debug, Default)]
pub(crate) struct Telling(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// How often a model was asked for this answer.
    attempts: u32,
    events: Vec<PartialEvent>,
}

impl Telling {
    /// Of an answer that was asked for `attempts` times before.
    pub(crate) fn after(attempts: u32) -> Self {
        Self(Mutex::new(Told {
            attempts,
            events: Vec::new(),
        }))
    }

    /// A hosted model is asked. One within the process answers at once: there is nothing to tell in between.
    pub(crate) fn asked(&self, model: &ModelName) {
        if *model == ModelName::Extractive {
            return;
        }
        self.with(|told| {
            told.attempts += 1;
            told.events.push(PartialEvent::ModelAsked {
                model: model.clone(),
                attempt: told.attempts,
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
        self.with(|told| match told.events.last_mut() {
            // No model has been asked over the network.
            None if told.attempts == 0 => {}
            Some(PartialEvent::Text { text }) if text.len() + more.len() <= MAX_TEXT => {
                text.push_str(more);
            }
            _ => told.events.push(PartialEvent::Text {
                text: more.to_owned(),
            }),
        });
    }

    /// Takes what is to be stored next.
    pub(crate) fn take(&self) -> Vec<PartialEvent> {
        self.with(|told| std::mem::take(&mut told.events))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_collected_between_attempts() {
        let model: ModelName = "openai/gpt".parse().unwrap();
        let asked = |attempt| PartialEvent::ModelAsked {
            model: model.clone(),
            attempt,
        };
        let text = |text: &str| PartialEvent::Text {
            text: text.to_owned(),
        };
        let telling = Telling::after(1);
        telling.asked(&model);
        telling.text("One ");
        telling.text("two");
        telling.asked(&model);
        telling.text("Three");
        let told = telling.take();
        assert_eq!(told, [asked(2), text("One two"), asked(3), text("Three")]);
        telling.text(" four");
        assert_eq!(telling.take(), [text(" four")]);

        telling.text(&"é".repeat(MAX_TEXT));
        let pieces = telling.take();
        assert_eq!(pieces.len(), 2, "a long piece has to fit into items");

        let within = Telling::default();
        within.asked(&ModelName::Extractive);
        within.text("All at once.");
        assert!(within.take().is_empty());
    }
}
