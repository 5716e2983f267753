//! What a run does next, given what has happened: the fold of its journal, without I/O.
//!
//! Whoever drives a [`State`] does what [`State::next`] says, reports what came of it, and asks again. Events that are
//! reported are kept until [`Action::Write`] or the run's end asks for them to be stored; both the journal and the
//! order of writes against effects are decided here, so that the tests of this file hold for the real runner.
//!
//! When is something written?
//!
//! * An intent is written before its call is made, together with all that led to it.
//! * The result of a call that must not be repeated is written before anything else is done: until then, a crash makes its
//!   outcome unknown for ever.
//! * A model that is asked over the network costs time and money, so everything known is written before it is asked.
//! * A model within the process costs nothing. The result of a repeatable call, the answer to it and the run's end then
//!   share one write: a crash before it costs one repetition, under the same idempotency key.

use domain::run::{MAX_PAYLOAD, ProviderContent, StepEvent, TokenUsage, ToolCall, ToolOutcome};
use llm::{Message, ModelRequest, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::Definition;
use crate::result;

#[cfg(test)]
mod explorer;
mod journal;
#[cfg(test)]
mod tests;

pub use journal::BrokenJournal;

/// How many events may wait to be written together: each may have 100 KiB, and a transaction 4 MB.
const MAX_UNWRITTEN: usize = 25;
/// How a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    definition: Definition,
    turns: Vec<Turn>,
    usage: TokenUsage,
    cost_micros: u64,
    unwritten: Vec<StepEvent>,
    /// Among the unwritten events is one that a crash must not lose.
    must_write: bool,
    /// Why the run cannot go on.
    failure: Option<String>,
}

/// A model's answer, and what became of the calls that it asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Turn {
    text: String,
    calls: Vec<Call>,
    content: Option<ProviderContent>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Call {
    request: ToolCall,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Stage {
    Asked,
    /// `found` in the journal: whether the call was made then, nobody knows.
    Intended {
        idempotent: bool,
        found: bool,
    },
    Returned(ToolOutcome),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Store [`State::unwritten`], then say [`State::written`].
    Write,
    /// Ask the model [`State::request`], then say [`State::answered`], or [`State::fail`].
    CallModel,
    /// See whether this call may be made, then say [`State::intend`] or [`State::refuse`].
    RecordIntent(ToolCall),
    /// Make the call, then say [`State::returned`]. `repeat`: it may have been made before.
    CallTool { call: ToolCall, repeat: bool },
    /// Store [`State::unwritten`] and the outcome.
    Done(Outcome),
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Completed { output: Value },
    Failed { error: String },
}

impl Outcome {
    fn failed(error: impl Into<String>) -> Self {
        Self::Failed {
            error: error.into(),
        }
    }
}

impl State {
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// What the models have read and written so far.
    pub fn usage(&self) -> TokenUsage {
        self.usage
    }

    /// What they cost, in millionths of a US dollar.
    pub fn cost_micros(&self) -> u64 {
        self.cost_micros
    }

    /// What has happened and is not stored.
    pub fn unwritten(&self) -> &[StepEvent] {
        &self.unwritten
    }

    /// What to do next.
    pub fn next(&self) -> Action {
        if self.must_write || self.unwritten.len() >= MAX_UNWRITTEN {
            return Action::Write;
        }
        if let Some(error) = &self.failure {
            return Action::Done(Outcome::failed(error));
        }
        let Some(turn) = self.turns.last() else {
            return self.call_model();
        };
        if let Some(call) = self.open_call() {
            return self.go_on_with(call);
        }
        if let Some(error) = self.fatal_error() {
            return Action::Done(Outcome::failed(error));
        }
        if turn.calls.is_empty() {
            Action::Done(self.outcome(&turn.text))
        } else {
            self.call_model()
        }
    }

    fn call_model(&self) -> Action {
        if self.unwritten.is_empty() || self.definition.model_is_in_process() {
            Action::CallModel
        } else {
            Action::Write
        }
    }

    fn go_on_with(&self, call: &Call) -> Action {
        match call.stage {
            // What the call would find out, no further answer could use.
            Stage::Asked if self.turns.len() >= self.definition.max_steps as usize => {
                let limit = self.definition.max_steps;
                Action::Done(Outcome::failed(format!("step limit of {limit} reached")))
            }
            Stage::Asked => Action::RecordIntent(call.request.clone()),
            Stage::Intended { .. } if !self.unwritten.is_empty() => Action::Write,
            Stage::Intended {
                idempotent: false,
                found: true,
            } => {
                let tool = &call.request.tool;
                Action::Done(Outcome::failed(format!(
                    "outcome unknown: {tool} may or may not have taken effect"
                )))
            }
            Stage::Intended { found, .. } => Action::CallTool {
                call: call.request.clone(),
                repeat: found,
            },
            Stage::Returned(_) => unreachable!("a call that has returned is not open"),
        }
    }

    /// The error of a tool that the run cannot do without.
    fn fatal_error(&self) -> Option<&str> {
        result::fatal_error(&self.definition.result, self.outcomes())
    }

    fn outcome(&self, text: &str) -> Outcome {
        let output = match result::of(&self.definition, text, self.outcomes()) {
            Ok(output) => output,
            Err(why) => return Outcome::failed(why),
        };
        if is_too_large(&output) {
            return Outcome::failed(format!("the output is larger than {MAX_PAYLOAD} bytes"));
        }
        Outcome::Completed { output }
    }

    fn outcomes(&self) -> impl Iterator<Item = (&ToolCall, &ToolOutcome)> {
        let calls = self.turns.iter().flat_map(|turn| &turn.calls);
        calls.filter_map(|call| match &call.stage {
            Stage::Returned(outcome) => Some((&call.request, outcome)),
            Stage::Asked | Stage::Intended { .. } => None,
        })
    }

    /// The conversation so far, for a model that may ask for `tools`.
    pub fn request(&self, tools: Vec<ToolSpec>) -> ModelRequest {
        let mut messages = vec![Message::User {
            text: self.definition.opening.clone(),
        }];
        for turn in &self.turns {
            let tool_calls = turn.calls.iter().map(|call| call.request.clone()).collect();
            messages.push(Message::Assistant {
                text: turn.text.clone(),
                tool_calls,
                content: turn.content.clone(),
            });
            for call in &turn.calls {
                if let Stage::Returned(outcome) = &call.stage {
                    messages.push(Message::Tool {
                        call_id: call.request.id.clone(),
                        tool: call.request.tool.clone(),
                        outcome: outcome.clone(),
                    });
                }
            }
        }
        ModelRequest {
            instructions: self.definition.instructions.clone(),
            messages,
            images: self.definition.images.clone(),
            tools,
            output_schema: self.definition.model.output_schema.clone(),
            max_output_tokens: self.definition.model.max_output_tokens,
        }
    }
}

impl Call {
    fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Returned(_))
    }
}

fn is_too_large(value: &impl Serialize) -> bool {
    serde_json::to_vec(value).map_or(true, |json| json.len() > MAX_PAYLOAD)
}
