//! The events of a run: recording what is reported, and folding a journal that was stored.

use domain::payload::{self, MAX_DEPTH, MAX_PAYLOAD, is_deeper, is_too_large};
use domain::run::{StepEvent, TokenUsage, ToolOutcome};
use llm::{ModelResponse, Stop};
use serde_json::{Value, json};

use super::{Action, Call, Stage, State, Turn};
use crate::definition::Definition;
use crate::limits::Limits;
use crate::machine::{Effect, Machine};
use crate::outcome::shortened;

/// The number of calls that a model may ask for in one answer.
const MAX_CALLS: usize = 32;
/// The depth of a tool's result or a provider's own content, both of which have a value from outside within them.
const MAX_DEPTH_AROUND: usize = MAX_DEPTH + 8;

impl Machine for State {
    type Definition = Definition;
    type Action = Action;

    fn new(definition: Definition) -> Self {
        Self {
            definition,
            turns: Vec::new(),
            usage: TokenUsage::default(),
            cost_micros: 0,
            unwritten: Vec::new(),
            must_write: false,
            failure: None,
            paused: false,
            stopped: false,
            checked: None,
        }
    }

    fn follows(&self, event: &StepEvent) -> bool {
        match event {
            _ if self.stopped => false,
            StepEvent::Stopped => true,
            StepEvent::Continued => self.paused,
            _ if self.paused => false,
            StepEvent::Paused => true,
            StepEvent::ModelAnswered { .. } => self.open_calls().next().is_none(),
            StepEvent::ToolIntended { call_id, .. } => self
                .open_call(call_id)
                .is_some_and(|call| call.stage == Stage::Asked),
            StepEvent::ToolReturned { call_id, .. } => self.open_call(call_id).is_some(),
        }
    }

    fn apply(&mut self, event: &StepEvent) {
        match event {
            StepEvent::ModelAnswered {
                text,
                tool_calls,
                usage,
                cost_micros,
                content,
            } => {
                self.checked = None;
                self.usage += *usage;
                self.cost_micros = self.cost_micros.saturating_add(*cost_micros);
                let calls = tool_calls.iter().map(|request| Call {
                    request: request.clone(),
                    stage: Stage::Asked,
                });
                self.turns.push(Turn {
                    text: text.clone(),
                    calls: calls.collect(),
                    content: content.clone(),
                });
            }
            StepEvent::ToolIntended {
                call_id,
                idempotent,
            } => self.move_call(
                call_id,
                Stage::Intended {
                    idempotent: *idempotent,
                    found: false,
                },
            ),
            StepEvent::ToolReturned { call_id, outcome } => {
                self.move_call(call_id, Stage::Returned(outcome.clone()));
            }
            StepEvent::Paused => self.paused = true,
            StepEvent::Continued => self.paused = false,
            StepEvent::Stopped => self.stopped = true,
        }
    }

    /// It is not known whether the calls were made whose intents are found.
    fn resume(&mut self) {
        let calls = self.turns.last_mut().into_iter();
        for call in calls.flat_map(|turn| &mut turn.calls) {
            if let Stage::Intended { found, .. } = &mut call.stage {
                *found = true;
            }
        }
    }

    fn next(&self) -> Action {
        match self.next_step() {
            Action::Done(_) | Action::CheckAnswer if self.would_lose_an_answer() => Action::Write,
            action => action,
        }
    }

    fn effect(action: &Action) -> Effect {
        match action {
            // Before the intents, not between them and their calls: a worker that finds an intent must assume that the call was made.
            Action::CallModel | Action::RecordIntents(_) => Effect::Begins,
            Action::CallTools(_) => Effect::Continues,
            Action::Write | Action::CheckAnswer | Action::Done(_) => Effect::None,
        }
    }

    fn fail(&mut self, why: String) {
        self.failure.get_or_insert(shortened(why));
    }

    fn unwritten(&self) -> &[StepEvent] {
        &self.unwritten
    }

    fn written(&mut self) {
        self.unwritten.clear();
        self.must_write = false;
    }

    /// The calls that were about to be made are not made now.
    fn withdraw_intents(&mut self) {
        let events = std::mem::take(&mut self.unwritten);
        for event in events {
            if let StepEvent::ToolIntended { call_id, .. } = &event {
                self.move_call(call_id, Stage::Asked);
            } else {
                self.unwritten.push(event);
            }
        }
    }

    fn usage(&self) -> TokenUsage {
        self.usage
    }

    fn cost_micros(&self) -> u64 {
        self.cost_micros
    }

    fn limits(&self) -> &Limits {
        &self.definition.limits
    }
}

impl State {
    /// The model has answered. An answer that cannot be used ends the run; what it cost is kept.
    pub fn answered(&mut self, mut answer: ModelResponse) {
        let ModelResponse {
            usage, cost_micros, ..
        } = answer;
        let unusable = self.unusable(&answer);
        if unusable.is_some() {
            answer = ModelResponse::default();
        }
        let ModelResponse {
            text,
            mut tool_calls,
            mut content,
            ..
        } = answer;
        content.take_if(|content| is_deeper(&content.content, MAX_DEPTH_AROUND));
        // Idempotency keys are made of these ids, and no provider promises that its own are unique within a run.
        for (index, call) in tool_calls.iter_mut().enumerate() {
            call.id = format!("call_{}_{}", self.turns.len() + 1, index + 1);
            call.arguments = payload::kept(std::mem::take(&mut call.arguments));
        }
        self.record(StepEvent::ModelAnswered {
            text,
            tool_calls,
            usage,
            cost_micros,
            content,
        });
        if let Some(why) = unusable {
            self.fail(why);
        }
    }

    fn unusable(&self, answer: &ModelResponse) -> Option<String> {
        let calls = answer.tool_calls.len();
        match answer.stop {
            Stop::Cut => {
                let limit = self.definition.model.max_output_tokens;
                Some(format!(
                    "the model's answer was cut off at the limit of {limit} tokens"
                ))
            }
            Stop::Declined => Some("the model declined to answer".to_owned()),
            Stop::Finished if calls > MAX_CALLS => Some(format!(
                "the model asked for {calls} calls in one answer; {MAX_CALLS} are allowed"
            )),
            Stop::Finished
                if is_too_large(&(&answer.text, &answer.tool_calls))
                    || is_too_large(&answer.content) =>
            {
                Some(format!(
                    "the model's answer is larger than {MAX_PAYLOAD} bytes"
                ))
            }
            Stop::Finished => None,
        }
    }

    /// The call may be made, and is about to be.
    pub fn intend(&mut self, call_id: &str, idempotent: bool) {
        self.record(StepEvent::ToolIntended {
            call_id: call_id.to_owned(),
            idempotent,
        });
    }

    /// The call cannot be made; the model is told why.
    pub fn refuse(&mut self, call_id: &str, why: impl Into<String>) {
        self.returned(call_id, ToolOutcome::Error(why.into()));
    }

    /// The call came back.
    pub fn returned(&mut self, call_id: &str, outcome: ToolOutcome) {
        let Some(call) = self.open_call(call_id) else {
            return;
        };
        let must_write = matches!(
            call.stage,
            Stage::Intended {
                idempotent: false,
                ..
            }
        );
        let outcome = match outcome {
            ToolOutcome::Ok(value) if is_too_large(&value) => {
                ToolOutcome::Error(format!("the result is larger than {MAX_PAYLOAD} bytes"))
            }
            ToolOutcome::Ok(value) if is_deeper(&value, MAX_DEPTH_AROUND) => {
                ToolOutcome::Ok(json!({
                    "note": format!("the result is nested more than {MAX_DEPTH} levels deep, and is told as text"),
                    "text": value.to_string(),
                }))
            }
            ToolOutcome::Error(error) => ToolOutcome::Error(shortened(error)),
            ok @ ToolOutcome::Ok(_) => ok,
        };
        self.record(StepEvent::ToolReturned {
            call_id: call_id.to_owned(),
            outcome,
        });
        self.must_write |= must_write;
    }

    /// The last answer has been checked under the output schema.
    pub fn checked(&mut self, checked: Result<Value, String>) {
        self.checked = Some(checked);
    }

    fn record(&mut self, event: StepEvent) {
        debug_assert!(self.follows(&event), "{event:?} does not follow");
        self.apply(&event);
        self.unwritten.push(event);
    }

    fn move_call(&mut self, call_id: &str, stage: Stage) {
        let calls = self.turns.last_mut().into_iter();
        let mut calls = calls.flat_map(|turn| &mut turn.calls);
        if let Some(call) = calls.find(|call| call.request.id == call_id && call.is_open()) {
            call.stage = stage;
        }
    }

    /// The calls of the last answer that have not returned.
    pub(super) fn open_calls(&self) -> impl Iterator<Item = &Call> {
        let calls = self.turns.last().into_iter().flat_map(|turn| &turn.calls);
        calls.filter(|call| call.is_open())
    }

    fn open_call(&self, call_id: &str) -> Option<&Call> {
        self.open_calls().find(|call| call.request.id == call_id)
    }
}
