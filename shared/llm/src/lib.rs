//! Models: one request and one answer for all providers.
//!
//! * `builtin/extractive` needs no network and no weights, and is what an agent uses that names no other model.
//! * `openai/…` speaks chat completions with OpenAI or with any service that understands them.
//! * `anthropic/…` speaks Anthropic's messages API.
//! * `bedrock/…` asks Amazon Bedrock.
//!
//! A provider is a file with two pure functions, from our request to its body and from its body to our answer, and one beside
//! it that puts such a body together from what comes in pieces; golden tests hold all of them. [`HttpModel`] is what they share.

mod anthropic;
mod bedrock;
mod conversation;
pub mod extractive;
mod failure;
#[cfg(test)]
mod golden;
mod http_model;
mod openai;
mod prices;
mod redact;
mod stream;
mod structure;
mod unsupported;

use std::time::Duration;

use domain::run::{ProviderContent, TokenUsage, ToolCall, ToolOutcome};
use serde_json::Value;

pub use bedrock::{Bedrock, BedrockAccess, BedrockRole};
pub use http_model::{Api, HttpModel};
pub use unsupported::{Member, Unsupported};

/// A request to a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelRequest {
    /// The agent's instructions and prompt sections, in order.
    pub instructions: String,
    /// The conversation so far, oldest first; never empty, the first is the run's input.
    pub messages: Vec<Message>,
    /// Pictures that belong to the first message: `https://` addresses, or `data:` URLs in base64.
    pub images: Vec<String>,
    /// The tools that the model may ask for.
    pub tools: Vec<ToolSpec>,
    /// JSON Schema that the final text shall fit as JSON. Not for the extractive model.
    pub output_schema: Option<Value>,
    /// The number of tokens that a hosted model may write in this answer.
    pub max_output_tokens: u32,
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
        /// The answer as its model gave it, for that model.
        content: Option<ProviderContent>,
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

/// The response of a model: a final text when `tool_calls` is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelResponse {
    pub text: String,
    /// Arguments that were no JSON come as the text that they are.
    pub tool_calls: Vec<ToolCall>,
    pub usage: TokenUsage,
    /// The cost, in millionths of a US dollar; 0 where the price is not known.
    pub cost_micros: u64,
    /// The answer as the model gave it, where text and calls do not say it all.
    pub content: Option<ProviderContent>,
    pub stop: Stop,
}

/// The reason why an answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// It is complete.
    #[default]
    Finished,
    /// At the limit of what the model may write.
    Cut,
    /// The model, or a filter of its provider, would not go on.
    Declined,
}

/// The reason why a model did not answer. The texts are for people; none has the key in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The same request may succeed later, as the provider says after `retry_after`.
    #[error("{why}")]
    Unavailable {
        why: String,
        retry_after: Option<Duration>,
    },
    /// It will not.
    #[error("{0}")]
    Refused(String),
}

/// A model that can be asked.
#[derive(Clone, Debug)]
pub enum Model {
    Extractive,
    Hosted(HttpModel),
    Bedrock(Bedrock),
}

impl Model {
    /// The members of a request that its service turned out to refuse since this was made. They are not sent again by this value;
    /// [`HttpModel::without`] keeps another from sending them at all.
    pub fn learned(&self) -> Vec<Member> {
        match self {
            Self::Hosted(model) => model.learned(),
            Self::Extractive | Self::Bedrock(_) => Vec::new(),
        }
    }

    /// Asks once. A hosted model is given up after `timeout`.
    ///
    /// `on_text` gets each piece of the answer's text as it comes: together they are [`ModelResponse::text`]. Of an answer that
    /// fails half way it has had the beginning.
    pub async fn answer(
        &self,
        request: &ModelRequest,
        timeout: Duration,
        on_text: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ModelResponse, ModelError> {
        match self {
            Self::Extractive => {
                let answer = extractive::Extractive.answer_beside(request).await;
                // A quoted sentence is a line.
                answer.text.split_inclusive('\n').for_each(on_text);
                Ok(answer)
            }
            Self::Hosted(model) => model.answer(request, timeout, on_text).await,
            Self::Bedrock(model) => model.answer(request, timeout, on_text).await,
        }
    }
}
