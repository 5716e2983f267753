//! What happens to a run, event by event: recording what is reported, and folding a journal that was stored.

use domain::run::{MAX_PAYLOAD, Step, StepEvent, TokenUsage, ToolOutcome};
use llm::{ModelAnswer, Stop};

use super::{Call, Stage, State, Turn, is_too_large};
use crate::definition::Definition;

/// How many calls a model may ask for in one answer.
const MAX_CALLS: usize = 32;
/// The longest error text that is kept, in characters.
pub(super) const MAX_ERROR: usize = 2000;

/// The journal does not tell a story that this machine could have lived.
#[derive(Debug, thiserror::Error)]
#[error("step {0} of the journal does not follow from those before it")]
pub struct BrokenJournal(usize);

impl State {
    /// The state of a run at the end of its journal.
    pub fn replay(definition: Definition, journal: &[Step]) -> Result<Self, BrokenJournal> {
        let mut state = Self {
            definition,
            turns: Vec::new(),
            usage: TokenUsage::default(),
            cost_micros: 0,
            unwritten: Vec::new(),
            must_write: false,
            failure: None,
        };
        for (position, step) in journal.iter().enumerate() {
            if step.index as usize != position || !state.follows(&step.event) {
                return Err(BrokenJournal(position));
            }
            state.apply(&step.event);
        }
        if let Some(Call {
            stage: Stage::Intended { found, .. },
            ..
        }) = state.open_call_mut()
        {
            *found = true;
        }
        Ok(state)
    }

    /// The model has answered. An answer that cannot be used ends the run; what it cost is kept.
    pub fn answered(&mut self, mut answer: ModelAnswer) {
        let ModelAnswer {
            usage, cost_micros, ..
        } = answer;
        let unusable = self.unusable(&answer);
        if unusable.is_some() {
            answer = ModelAnswer::default();
        }
        let ModelAnswer {
            text,
            mut tool_calls,
            content,
            ..
        } = answer;
        // Idempotency keys are made of these ids, and no provider promises that its own are unique within a run.
        for (index, call) in tool_calls.iter_mut().enumerate() {
            call.id = format!("call_{}_{}", self.turns.len() + 1, index + 1);
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

    fn unusable(&self, answer: &ModelAnswer) -> Option<String> {
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

    /// The call at hand may be made, and is about to be.
    pub fn intend(&mut self, idempotent: bool) {
        if let Some(call_id) = self.open_call().map(|call| call.request.id.clone()) {
            self.record(StepEvent::ToolIntended {
                call_id,
                idempotent,
            });
        }
    }

    /// The call at hand cannot be made; the model is told why.
    pub fn refuse(&mut self, why: impl Into<String>) {
        self.returned(ToolOutcome::Error(why.into()));
    }

    /// The call at hand came back.
    pub fn returned(&mut self, outcome: ToolOutcome) {
        let Some(call) = self.open_call() else { return };
        let must_write = matches!(
            call.stage,
            Stage::Intended {
                idempotent: false,
                ..
            }
        );
        let call_id = call.request.id.clone();
        let outcome = match outcome {
            ToolOutcome::Ok(value) if is_too_large(&value) => {
                ToolOutcome::Error(format!("the result is larger than {MAX_PAYLOAD} bytes"))
            }
            ToolOutcome::Error(error) => ToolOutcome::Error(shortened(error)),
            ok @ ToolOutcome::Ok(_) => ok,
        };
        self.record(StepEvent::ToolReturned { call_id, outcome });
        self.must_write |= must_write;
    }

    /// The run cannot go on.
    pub fn fail(&mut self, error: impl Into<String>) {
        self.failure.get_or_insert(shortened(error.into()));
    }

    /// All events are stored.
    pub fn written(&mut self) {
        self.unwritten.clear();
        self.must_write = false;
    }

    fn record(&mut self, event: StepEvent) {
        debug_assert!(self.follows(&event), "{event:?} does not follow");
        self.apply(&event);
        self.unwritten.push(event);
    }

    /// Whether `event` can be the next.
    fn follows(&self, event: &StepEvent) -> bool {
        match (event, self.open_call()) {
            (StepEvent::ModelAnswered { .. }, open) => open.is_none(),
            (StepEvent::ToolIntended { call_id, .. }, Some(call)) => {
                call.request.id == *call_id && call.stage == Stage::Asked
            }
            (StepEvent::ToolReturned { call_id, .. }, Some(call)) => call.request.id == *call_id,
            (StepEvent::ToolIntended { .. } | StepEvent::ToolReturned { .. }, None) => false,
            (StepEvent::Paused | StepEvent::Continued | StepEvent::Stopped, _) => true,
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
                self.usage += *usage;
                self.cost_micros += *cost_micros;
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
            StepEvent::ToolIntended { idempotent, .. } => self.move_open_call(Stage::Intended {
                idempotent: *idempotent,
                found: false,
            }),
            StepEvent::ToolReturned { outcome, .. } => {
                self.move_open_call(Stage::Returned(outcome.clone()));
            }
            StepEvent::Paused | StepEvent::Continued | StepEvent::Stopped => {}
        }
    }

    fn move_open_call(&mut self, stage: Stage) {
        if let Some(call) = self.open_call_mut() {
            call.stage = stage;
        }
    }

    /// The call at hand: the first that has not returned.
    pub(super) fn open_call(&self) -> Option<&Call> {
        let calls = &self.turns.last()?.calls;
        calls.iter().find(|call| call.is_open())
    }

    fn open_call_mut(&mut self) -> Option<&mut Call> {
        let calls = &mut self.turns.last_mut()?.calls;
        calls.iter_mut().find(|call| call.is_open())
    }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_ERROR) {
        text.truncate(end);
        text.push('…');
    }
    text
}
