//! The end of a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of an error that is kept, in characters.
pub(crate) const MAX_ERROR: usize = 2000;

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Completed {
        output: Value,
    },
    Failed {
        error: String,
    },
    /// It was stopped. `note`: what became of a call that was under way.
    Stopped {
        note: Option<String>,
    },
}

impl Outcome {
    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self::Failed {
            error: shortened(error.into()),
        }
    }
}

/// As much of an error as is kept.
pub(crate) fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_ERROR) {
        text.truncate(end);
        text.push('…');
    }
    text
}
