//! Every way that two workers can carry out a small run: each may start, crash or lose its lease between any two of its
//! steps. What must hold in all of them is asserted on the way.

use std::collections::{BTreeMap, HashSet};

use chrono::DateTime;
use domain::run::{Step, StepEvent, ToolCall, ToolOutcome};
use llm::ModelAnswer;
use serde::Serialize;
use serde_json::json;

use super::*;
use crate::definition::ResultKind;
use crate::model_choice::ModelChoice;

/// More steps than a lone worker needs from anywhere to the end.
const ENOUGH: usize = 60;

#[derive(Clone, Serialize)]
struct World {
    journal: Vec<Step>,
    outcome: Option<Outcome>,
    workers: [Option<Worker>; 2],
    /// How often each call was made; counted to 2.
    effects: BTreeMap<String, u8>,
}

#[derive(Clone, Serialize)]
struct Worker {
    state: State,
    /// Somebody else has written the run's head since.
    fenced: bool,
    /// A call was made and its result not yet reported.
    calling: bool,
}

/// What the model answers in its first, second and third turn.
fn script(turn: usize) -> ModelAnswer {
    let tools: &[&str] = match turn {
        0 => &["post", "get", "forbidden", "post"],
        1 => &["get", "get"],
        _ => &[],
    };
    let call = |tool: &&str| ToolCall {
        id: "same".to_owned(),
        tool: (*tool).to_owned(),
        arguments: json!({}),
    };
    ModelAnswer {
        text: format!("turn {turn}"),
        tool_calls: tools.iter().map(call).collect(),
        ..ModelAnswer::default()
    }
}

fn is_idempotent(tool: &str) -> bool {
    tool == "get"
}

fn definition(model: &str) -> Definition {
    Definition {
        model: ModelChoice {
            name: model.parse().expect("a model's name"),
            ..ModelChoice::default()
        },
        instructions: String::new(),
        opening: String::new(),
        images: Vec::new(),
        tools: vec!["post".to_owned(), "get".to_owned()],
        allowed_hosts: Vec::new(),
        allowed_agents: Vec::new(),
        max_steps: 5,
        result: ResultKind::Text,
    }
}

impl World {
    /// Whatever can happen next.
    fn successors(&self, definition: &Definition) -> Vec<Self> {
        let mut successors = Vec::new();
        for slot in 0..self.workers.len() {
            if self.workers[slot].is_some() {
                let mut crashed = self.clone();
                crashed.workers[slot] = None;
                successors.push(crashed);
                let mut moved = self.clone();
                moved.step(slot);
                successors.push(moved);
            } else if self.outcome.is_none() {
                let mut started = self.clone();
                started.start(slot, definition);
                successors.push(started);
            }
        }
        successors
    }

    /// A worker takes the lease, which fences the other.
    fn start(&mut self, slot: usize, definition: &Definition) {
        self.workers
            .iter_mut()
            .flatten()
            .for_each(|other| other.fenced = true);
        let state = State::replay(definition.clone(), &self.journal).expect("a journal of ours");
        self.workers[slot] = Some(Worker {
            state,
            fenced: false,
            calling: false,
        });
    }

    fn step(&mut self, slot: usize) {
        let Some(mut worker) = self.workers[slot].take() else {
            return;
        };
        if std::mem::take(&mut worker.calling) {
            worker.state.returned(ToolOutcome::Ok(json!("done")));
            self.workers[slot] = Some(worker);
            return;
        }
        match worker.state.next() {
            // A conditional write that fails: the worker stops, and changes nothing.
            Action::Write | Action::Done(_) if worker.fenced => return,
            Action::Write => self.store(&mut worker),
            Action::Done(outcome) => {
                self.store(&mut worker);
                self.check_end(&outcome);
                self.outcome = Some(outcome);
                return;
            }
            Action::CallModel => {
                let turn = worker.state.request(Vec::new()).messages.len();
                let turn = match turn {
                    1 => 0,
                    2..=6 => 1,
                    _ => 2,
                };
                worker.state.answered(script(turn));
            }
            Action::RecordIntent(call) if call.tool == "forbidden" => {
                worker.state.refuse("this agent may not call forbidden");
            }
            Action::RecordIntent(call) => worker.state.intend(is_idempotent(&call.tool)),
            Action::CallTool { call, .. } => {
                self.call(&call, &worker);
                worker.calling = true;
            }
        }
        self.workers[slot] = Some(worker);
    }

    fn store(&mut self, worker: &mut Worker) {
        for event in worker.state.unwritten() {
            let index = u32::try_from(self.journal.len()).unwrap();
            self.journal.push(Step {
                index,
                at: DateTime::UNIX_EPOCH,
                event: event.clone(),
            });
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
                assert_eq!((made("call_1_1"), made("call_1_4")), (1, 1));
                for repeatable in ["call_1_2", "call_2_1", "call_2_2"] {
                    assert!(made(repeatable) >= 1, "{repeatable} was left out");
                }
                assert_eq!(made("call_1_3"), 0);
            }
            Outcome::Failed { error } => {
                assert_eq!(
                    error,
                    "outcome unknown: post may or may not have taken effect"
                );
            }
        }
    }

    /// A worker that nobody disturbs any more ends the run.
    fn ends(mut self, definition: &Definition) -> bool {
        for _ in 0..ENOUGH {
            if self.outcome.is_some() {
                return true;
            }
            if self.workers[0].is_none() {
                self.start(0, definition);
            }
            self.step(0);
        }
        false
    }
}

#[test]
fn no_interleaving_of_crashes_and_takeovers_breaks_a_run() {
    for model in ["builtin/extractive", "openai/some-model"] {
        let definition = definition(model);
        let start = World {
            journal: Vec::new(),
            outcome: None,
            workers: [None, None],
            effects: BTreeMap::new(),
        };
        let mut seen = HashSet::new();
        let mut open = vec![start];
        let (mut completed, mut unknown) = (0, 0);
        while let Some(world) = open.pop() {
            if !seen.insert(serde_json::to_string(&world).unwrap()) {
                continue;
            }
            match &world.outcome {
                None => assert!(world.clone().ends(&definition), "stuck"),
                Some(Outcome::Completed { .. }) => completed += 1,
                Some(Outcome::Failed { .. }) => unknown += 1,
            }
            open.extend(world.successors(&definition));
        }
        assert!(completed > 0 && unknown > 0 && seen.len() > 500, "{model}");
    }
}
