//! The loop of an agent as a state machine: ask the model, make the calls that it asks for, and so on until it answers.
//!
//! The caller that drives a [`State`] does what [`Machine::next`](crate::machine::Machine::next) says, reports what came of it, and asks
//! again. Events that are
//! reported are kept until [`Action::Write`] or the run's end asks for them to be stored; both the journal and the
//! order of writes against effects are decided here, so that the tests of this file hold for the real runner.
//!
//! When is something written?
//!
//! * An intent is written before its call is made, together with all that led to it.
//! * The result of a call that must not be repeated is written before anything else is done: until then, a crash makes its
//!   outcome unknown for ever.
//! * A model that is asked over the network costs time and money, so everything known is written before it is asked, and its last
//!   answer before the run's end is: should the end not be written at once, it need not be asked again.
//! * A model within the process costs nothing. The result of a repeatable call, the answer to it and the run's end then
//!   share one write: a crash before it costs one repetition, under the same idempotency key.

use domain::payload::{MAX_PAYLOAD, is_too_large};
use domain::run::{ProviderContent, StepEvent, TokenUsage, ToolCall, ToolOutcome};
use llm::{Message, ModelRequest, ToolSpec};
use serde::Serialize;
use serde_json::Value;

use crate::definition::Definition;

#[cfg(test)]
mod explorer;
mod journal;
#[cfg(test)]
mod tests;

pub use crate::outcome::Outcome;

/// The number of events that may wait to be written together: each may have 100 KiB in the table, and a transaction 4 MB.
const MAX_UNWRITTEN: usize = 25;
/// The number of calls that are made at once. All of them are intended before, so a crash may leave as many with an unknown outcome.
const MAX_CALLS_AT_ONCE: usize = 8;

/// The state of a run.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    definition: Definition,
    turns: Vec<Turn>,
    usage: TokenUsage,
    cost_micros: u64,
    unwritten: Vec<StepEvent>,
    /// Among the unwritten events is one that a crash must not lose.
    must_write: bool,
    /// The reason why the run cannot go on.
    failure: Option<String>,
    /// It was paused.
    paused: bool,
    /// It was stopped.
    stopped: bool,
    /// The last answer under the output schema, once that is known.
    checked: Option<Result<Value, String>>,
}

/// A model's answer, and what became of the calls that it asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Turn {
    text: String,
    calls: Vec<Call>,
    content: Option<ProviderContent>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Call {
    request: ToolCall,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
enum Stage {
    Asked,
    /// `found` in the journal: it is not known whether the call was made then.
    Intended {
        idempotent: bool,
        found: bool,
    },
    Returned(ToolOutcome),
}

/// The next action.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Store [`Machine::unwritten`](crate::machine::Machine::unwritten), then say [`Machine::written`](crate::machine::Machine::written).
    Write,
    /// Ask the model [`State::request`], then say [`State::answered`], or [`Machine::fail`](crate::machine::Machine::fail).
    CallModel,
    /// See of each call whether it may be made, and say [`State::intend`] or [`State::refuse`].
    RecordIntents(Vec<ToolCall>),
    /// Make the calls, at once or in any order, and say [`State::returned`] of each as it comes back. In between,
    /// [`State::must_write`] tells whether what came back has to be stored before the others are waited for.
    CallTools(Vec<PendingCall>),
    /// See what [`State::to_check`] comes to, and say [`State::checked`].
    CheckAnswer,
    /// Store [`Machine::unwritten`](crate::machine::Machine::unwritten) and the outcome.
    Done(Outcome),
}

/// A call whose intent is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingCall {
    pub call: ToolCall,
    /// It may have been made before.
    pub repeat: bool,
}

impl State {
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Returns `true` if something is not stored that a crash must not lose.
    pub fn must_write(&self) -> bool {
        self.must_write
    }

    /// Calls whose intent is stored, and of which it is not known whether they took effect.
    pub fn in_doubt(&self) -> impl Iterator<Item = &ToolCall> {
        let calls = self.open_calls().filter(|call| {
            matches!(
                call.stage,
                Stage::Intended {
                    idempotent: false,
                    ..
                }
            )
        });
        calls.map(|call| &call.request)
    }

    /// Among the unwritten events is an answer that costs time and money to have again.
    fn would_lose_an_answer(&self) -> bool {
        let is_answer = |event: &StepEvent| matches!(event, StepEvent::ModelAnswered { .. });
        !self.definition.model_is_in_process() && self.unwritten.iter().any(is_answer)
    }

    fn next_step(&self) -> Action {
        if self.must_write || self.unwritten.len() >= MAX_UNWRITTEN {
            return Action::Write;
        }
        if let Some(error) = &self.failure {
            return Action::Done(Outcome::failed(error));
        }
        let Some(turn) = self.turns.last() else {
            return self.call_model();
        };
        if self.open_calls().next().is_some() {
            return self.go_on_with_calls();
        }
        if let Some(error) = self.fatal_error() {
            return Action::Done(Outcome::failed(error));
        }
        if !turn.calls.is_empty() {
            self.call_model()
        } else if self.to_check().is_some() {
            Action::CheckAnswer
        } else {
            Action::Done(self.outcome(&turn.text))
        }
    }

    /// The answer that is not checked yet, and the schema that it has to fit.
    pub fn to_check(&self) -> Option<(&Value, &str)> {
        let Definition { model, result, .. } = &self.definition;
        let schema = result.schema(model).filter(|_| self.checked.is_none());
        schema.zip(self.turns.last().map(|turn| turn.text.as_str()))
    }

    fn call_model(&self) -> Action {
        let limits = &self.definition.limits;
        if let Some(limit) = limits.reached(self.usage, self.cost_micros) {
            return Action::Done(Outcome::failed(limit));
        }
        if self.unwritten.is_empty() || self.definition.model_is_in_process() {
            Action::CallModel
        } else {
            Action::Write
        }
    }

    fn go_on_with_calls(&self) -> Action {
        let mut pending = Vec::new();
        let mut asked = Vec::new();
        for call in self.open_calls() {
            match call.stage {
                Stage::Asked => asked.push(call.request.clone()),
                Stage::Intended {
                    idempotent: false,
                    found: true,
                } => {
                    let tool = &call.request.tool;
                    return Action::Done(Outcome::failed(format!(
                        "outcome unknown: {tool} may or may not have taken effect"
                    )));
                }
                Stage::Intended { found, .. } => pending.push(PendingCall {
                    call: call.request.clone(),
                    repeat: found,
                }),
                Stage::Returned(_) => {}
            }
        }
        if !pending.is_empty() && !self.unwritten.is_empty() {
            Action::Write
        } else if !pending.is_empty() {
            Action::CallTools(pending)
        } else if self.turns.len() >= self.definition.max_steps as usize {
            // What the calls would find out, no further answer could use.
            let limit = self.definition.max_steps;
            Action::Done(Outcome::failed(format!("step limit of {limit} reached")))
        } else {
            asked.truncate(MAX_CALLS_AT_ONCE);
            Action::RecordIntents(asked)
        }
    }

    /// The error of a tool that the run cannot do without.
    fn fatal_error(&self) -> Option<&str> {
        self.definition.result.fatal_error(&self.outcomes())
    }

    fn outcome(&self, text: &str) -> Outcome {
        let Definition { model, result, .. } = &self.definition;
        let checked = self.checked.as_ref();
        let output = match result.output(model, text, checked, &self.outcomes()) {
            Ok(output) => output,
            Err(why) => return Outcome::failed(why),
        };
        if is_too_large(&output) {
            return Outcome::failed(format!("the output is larger than {MAX_PAYLOAD} bytes"));
        }
        Outcome::Completed { output }
    }

    /// The number of calls of its tool that the run asked for before this one.
    pub(crate) fn calls_before(&self, call: &ToolCall) -> usize {
        let calls = self.turns.iter().flat_map(|turn| &turn.calls);
        calls
            .take_while(|other| other.request.id != call.id)
            .filter(|other| other.request.tool == call.tool)
            .count()
    }

    fn outcomes(&self) -> Vec<(&ToolCall, &ToolOutcome)> {
        let calls = self.turns.iter().flat_map(|turn| &turn.calls);
        let returned = calls.filter_map(|call| match &call.stage {
            Stage::Returned(outcome) => Some((&call.request, outcome)),
            Stage::Asked | Stage::Intended { .. } => None,
        });
        returned.collect()
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
