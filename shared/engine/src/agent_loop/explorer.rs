//! Every way that two workers and a person can deal with a small run: a worker may start, crash, lose its lease or be late between
//! any two of its steps, messages are delivered again at any time, calls of one answer come back in any order, and the person may
//! pause, continue and stop. What must hold in all of it is asserted on the way.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::DateTime;
use domain::run::{Step, StepEvent, ToolCall, ToolOutcome};
use llm::ModelResponse;
use serde::Serialize;
use serde_json::json;

use super::*;
use crate::machine::Machine;
use crate::model_choice::ModelChoice;
use crate::result::Text;

/// More steps than a lone worker needs from anywhere to the end.
const ENOUGH: usize = 60;

#[derive(Clone, Serialize)]
struct World {
    #[serde(skip)]
    script: Script,
    journal: Vec<Step>,
    outcome: Option<Outcome>,
    workers: [Option<Worker>; 2],
    /// The number of times that each call was made; counted to 2.
    effects: BTreeMap<String, u8>,
    /// The head says so.
    paused: bool,
    /// The mark beside the head.
    pause_wanted: bool,
    /// The actions that the person may still take.
    pauses_left: u8,
    may_stop: bool,
}

#[derive(Clone, Serialize)]
struct Worker {
    state: State,
    /// Another writer has written the run's head since.
    fenced: bool,
    /// The mark that it has seen beside the head.
    pause_seen: bool,
    /// Calls that were made and whose results are not reported.
    calling: BTreeSet<String>,
}

/// The tools that the model asks for, turn by turn; then it ends.
type Script = &'static [&'static [&'static str]];

/// The answers of the model.
fn answer(script: Script, turn: usize) -> ModelResponse {
    let tools = script.get(turn).copied().unwrap_or_default();
    let call = |tool: &&str| ToolCall {
        id: "same".to_owned(),
        tool: (*tool).to_owned(),
        arguments: json!({}),
    };
    ModelResponse {
        text: format!("turn {turn}"),
        tool_calls: tools.iter().map(call).collect(),
        ..ModelResponse::default()
    }
}

fn is_idempotent(tool: &str) -> bool {
    tool == "get"
}

fn definition(model: &str) -> Definition {
    let model = ModelChoice {
        name: model.parse().expect("a model's name"),
        ..ModelChoice::default()
    };
    Definition {
        tools: vec!["post".to_owned(), "get".to_owned()],
        max_steps: 5,
        ..Definition::new(model, Text)
    }
}

impl World {
    /// Whatever can happen next.
    fn successors(&self, definition: &Definition) -> Vec<Self> {
        let mut successors = Vec::new();
        let mut then = |change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            successors.push(next);
        };
        for slot in 0..self.workers.len() {
            match &self.workers[slot] {
                Some(worker) => {
                    then(&|next| next.workers[slot] = None);
                    for call in &worker.calling {
                        then(&|next| next.report(slot, call));
                    }
                    if worker.calling.is_empty() {
                        then(&|next| next.step(slot));
                    }
                }
                None if self.outcome.is_none() && !self.paused => {
                    then(&|next| next.start(slot, definition));
                }
                None => {}
            }
        }
        if self.outcome.is_none() {
            let is_held = self.workers.iter().flatten().any(|worker| !worker.fenced);
            if self.pauses_left > 0 && !self.paused && !self.pause_wanted {
                then(&|next| {
                    next.pauses_left -= 1;
                    // A lease may outlive its worker: the mark waits for the next one then.
                    next.pause_wanted = true;
                });
                if !is_held {
                    then(&|next| {
                        next.pauses_left -= 1;
                        next.write(StepEvent::Paused);
                        next.paused = true;
                    });
                }
            }
            if self.paused {
                then(&|next| {
                    next.write(StepEvent::Continued);
                    next.paused = false;
                });
            }
            if self.may_stop {
                then(&|next| {
                    next.may_stop = false;
                    next.write(StepEvent::Stopped);
                    next.outcome = Some(Outcome::Stopped { note: None });
                });
            }
        }
        successors
    }

    /// A worker takes the lease, which fences the other.
    fn start(&mut self, slot: usize, definition: &Definition) {
        self.fence();
        let state = State::replay(definition.clone(), &self.journal).expect("a journal of ours");
        self.workers[slot] = Some(Worker {
            state,
            fenced: false,
            pause_seen: self.pause_wanted,
            calling: BTreeSet::new(),
        });
    }

    fn fence(&mut self) {
        let workers = self.workers.iter_mut().flatten();
        workers.for_each(|worker| worker.fenced = true);
    }

    /// A write of a person, not of a worker.
    fn write(&mut self, event: StepEvent) {
        self.fence();
        self.pause_wanted = false;
        self.append(event);
    }

    fn append(&mut self, event: StepEvent) {
        self.journal.push(Step {
            index: u32::try_from(self.journal.len()).unwrap(),
            at: DateTime::UNIX_EPOCH,
            event,
        });
    }

    /// A call comes back.
    fn report(&mut self, slot: usize, call: &str) {
        let Some(mut worker) = self.workers[slot].take() else {
            return;
        };
        worker.calling.remove(call);
        worker.state.returned(call, ToolOutcome::Ok(json!("done")));
        if worker.state.must_write() && !worker.calling.is_empty() {
            if worker.fenced {
                return;
            }
            worker.pause_seen |= self.pause_wanted;
            self.store(&mut worker);
        }
        self.workers[slot] = Some(worker);
    }

    fn step(&mut self, slot: usize) {
        let Some(mut worker) = self.workers[slot].take() else {
            return;
        };
        match worker.state.next() {
            // A conditional write that fails: the worker stops, and changes nothing.
            Action::Write | Action::Done(_) if worker.fenced => return,
            Action::CallModel | Action::RecordIntents(_) if worker.pause_seen => {
                if !worker.fenced {
                    self.store(&mut worker);
                    self.append(StepEvent::Paused);
                    self.paused = true;
                    self.pause_wanted = false;
                }
                return;
            }
            Action::Write if self.pause_wanted && !worker.pause_seen => {
                worker.pause_seen = true;
                worker.state.withdraw_intents();
            }
            Action::Write => self.store(&mut worker),
            Action::CheckAnswer => panic!("there is no schema"),
            Action::Done(outcome) => {
                self.store(&mut worker);
                self.check_end(&outcome);
                self.outcome = Some(outcome);
                return;
            }
            Action::CallModel => {
                let messages = worker.state.request(Vec::new()).messages;
                let answers = messages
                    .iter()
                    .filter(|message| matches!(message, Message::Assistant { .. }));
                worker.state.answered(answer(self.script, answers.count()));
            }
            Action::RecordIntents(calls) => {
                for call in calls {
                    if call.tool == "forbidden" {
                        worker.state.refuse(&call.id, "this agent may not call it");
                    } else {
                        worker.state.intend(&call.id, is_idempotent(&call.tool));
                    }
                }
            }
            Action::CallTools(calls) => {
                for PendingCall { call, .. } in calls {
                    self.call(&call, &worker);
                    worker.calling.insert(call.id);
                }
            }
        }
        self.workers[slot] = Some(worker);
    }

    /// A write of a worker that still has the run. One that does not know of the mark beside the head fails at first.
    fn store(&mut self, worker: &mut Worker) {
        for event in worker.state.unwritten().to_vec() {
            self.append(event);
        }
        worker.state.written();
    }

    fn call(&mut self, call: &ToolCall, worker: &Worker) {
        let has = |wanted: &dyn Fn(&StepEvent) -> bool| {
            self.journal.iter().any(|step| wanted(&step.event))
        };
        assert!(
            has(
                &|event| matches!(event, StepEvent::ToolIntended { call_id, .. } if *call_id == call.id)
            ),
            "{} was made before its intent was stored",
            call.id
        );
        let returned = has(
            &|event| matches!(event, StepEvent::ToolReturned { call_id, .. } if *call_id == call.id),
        );
        assert!(
            worker.fenced || !returned,
            "{} was complete and made again",
            call.id
        );
        assert!(
            worker.fenced || self.outcome.is_none() && !self.paused,
            "{} was made after the run had ended or paused",
            call.id
        );
        let made = self.effects.entry(call.id.clone()).or_default();
        *made = (*made + 1).min(2);
        assert!(
            is_idempotent(&call.tool) || *made == 1,
            "{} was made twice",
            call.id
        );
    }

    fn check_end(&self, outcome: &Outcome) {
        let made = |call: &str| self.effects.get(call).copied().unwrap_or(0);
        match outcome {
            Outcome::Completed { .. } => {
                for (turn, tools) in self.script.iter().enumerate() {
                    for (index, tool) in tools.iter().enumerate() {
                        let made = made(&format!("call_{}_{}", turn + 1, index + 1));
                        match *tool {
                            "post" => assert_eq!(made, 1),
                            "get" => assert!(made >= 1),
                            _ => assert_eq!(made, 0),
                        }
                    }
                }
            }
            Outcome::Failed { error } => {
                assert_eq!(
                    error,
                    "outcome unknown: post may or may not have taken effect"
                );
                let crashed = self.journal.iter().any(|step| {
                    matches!(&step.event, StepEvent::ToolIntended { call_id, .. } if !self.has_returned(call_id))
                });
                assert!(crashed, "every call has come back");
            }
            Outcome::Stopped { .. } => unreachable!("no worker stops a run"),
        }
    }

    fn has_returned(&self, call: &str) -> bool {
        self.journal.iter().any(
            |step| matches!(&step.event, StepEvent::ToolReturned { call_id, .. } if call_id == call),
        )
    }

    /// A worker that is not disturbed any more ends the run, once it is continued if need be.
    fn ends(mut self, definition: &Definition) -> bool {
        for _ in 0..ENOUGH {
            if self.outcome.is_some() {
                return true;
            }
            if self.paused {
                self.write(StepEvent::Continued);
                self.paused = false;
            }
            match &self.workers[0] {
                None => self.start(0, definition),
                Some(worker) => match worker.calling.first().cloned() {
                    Some(call) => self.report(0, &call),
                    None => self.step(0),
                },
            }
        }
        false
    }
}

/// All that can become of a run, and how many ways there are.
fn explore(model: &str, script: Script, pauses_left: u8, may_stop: bool) -> (usize, [usize; 3]) {
    let definition = definition(model);
    let start = World {
        script,
        journal: Vec::new(),
        outcome: None,
        workers: [None, None],
        effects: BTreeMap::new(),
        paused: false,
        pause_wanted: false,
        pauses_left,
        may_stop,
    };
    let mut seen = HashSet::new();
    let mut open = vec![start];
    let mut ends = [0; 3];
    while let Some(world) = open.pop() {
        if !seen.insert(serde_json::to_string(&world).unwrap()) {
            continue;
        }
        match &world.outcome {
            None => assert!(world.clone().ends(&definition), "stuck"),
            Some(Outcome::Completed { .. }) => ends[0] += 1,
            Some(Outcome::Failed { .. }) => ends[1] += 1,
            Some(Outcome::Stopped { .. }) => ends[2] += 1,
        }
        open.extend(world.successors(&definition));
    }
    (seen.len(), ends)
}

#[test]
fn no_interleaving_of_crashes_and_takeovers_breaks_a_run() {
    let script: Script = &[&["post", "get", "forbidden", "post"], &["get"]];
    for model in ["builtin/extractive", "openai/some-model"] {
        let (ways, [completed, unknown, _]) = explore(model, script, 0, false);
        assert!(
            completed > 0 && unknown > 0 && ways > 500,
            "{model}: {ways}"
        );
    }
}

#[test]
fn no_pause_or_stop_at_any_moment_breaks_a_run() {
    let script: Script = &[&["post", "get"]];
    for model in ["builtin/extractive", "openai/some-model"] {
        let (ways, [completed, unknown, stopped]) = explore(model, script, 1, true);
        let all = completed > 0 && unknown > 0 && stopped > 0;
        assert!(all && ways > 1000, "{model}: {ways}");
    }
}
