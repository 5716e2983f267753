//! Models: one request and one answer for all providers.
//!
//! `builtin/extractive` needs no network and no weights, and is what an agent uses that names no other model.

pub mod extractive;

use domain::run::{TokenUsage, ToolCall, ToolOutcome};
use serde_json::Value;

/// What a model is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelRequest {
    /// The agent's instructions and prompt sections, in order.
    pub instructions: String,
    /// The conversation so far, oldest first; never empty, the first is the run's input.
    pub messages: Vec<Message>,
    /// The tools that the model may ask for.
    pub tools: Vec<ToolSpec>,
}

/// One turn of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    User {
        text: String,
    },
    Assistant {
        text: String,
        tool_calls: Vec<ToolCall>,
    },
    Tool {
        call_id: String,
        tool: String,
        outcome: ToolOutcome,
    },
}

/// A tool as a model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub input_schema: Value,
    /// Calling it again with the same idempotency key has no second effect.
    pub idempotent: bool,
}

/// What a model answers: a final text when `tool_calls` is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelAnswer {
    pub text: String,
    pub tool_calls: Vec<ToolCall>,
    pub usage: TokenUsage,
}

/// Why a model did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The same request may succeed later.
    #[error("the model is not available: {0}")]
    Unavailable(String),
    /// It will not.
    #[error("{0}")]
    Refused(String),
}

/// A model that can be asked.
#[derive(Clone, Debug)]
pub enum Model {
    Extractive(extractive::Extractive),
}

impl Model {
    /// The model of this name; `None` when there is none.
    pub fn find(name: &str) -> Option<Self> {
        (name == "builtin/extractive").then_some(Self::Extractive(extractive::Extractive))
    }

    pub async fn answer(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
        match self {
            Self::Extractive(model) => Ok(model.answer(request)),
        }
    }
}
