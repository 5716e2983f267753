//! The events of a run: a pure function of what is stored about it, so that a client that comes back finds the same ones.
//!
//! Event ids are derived from the journal, so a reconnecting client sees the same ids: `(index + 1) * 1_000_000 + n`, where
//! n < 500,000 are streamed deltas, n ≥ 500,000 the journal entry, and n ≥ 900,000 (after the last entry) the final events.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::ids::RunId;
use domain::model::ModelName;
use domain::run::{
    Run, RunStatus, Step, StepEvent, StreamChunk, StreamChunkEvent, ToolCall, ToolOutcome,
};
use serde_json::{Value, json};
use store::{JournalEntry, RunEvents};

use crate::pieces::pieces;

/// The number of ids that one place has room for.
const EVENT_ID_STRIDE: u64 = 1_000_000;
/// The number of a place's journal entry, behind the pieces of the answer.
const FIRST_ENTRY_EVENT: u64 = 500_000;
/// The number of the end of the run, at the place behind the last entry.
const FIRST_FINAL_EVENT: u64 = 900_000;
/// The most of a tool's arguments or result that is told, in bytes of JSON.
const MAX_TOLD: usize = 2 * 1024;

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunEvent {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) data: Value,
}

/// The history of a run, as far as it is known.
#[derive(Debug)]
pub(crate) struct History {
    run: RunId,
    /// The id of the newest event.
    newest: u64,
    is_over: bool,
    has_started: bool,
    /// The number of entries of the journal that have been read.
    steps: u32,
    turns: u32,
    /// The answer that is on its way.
    answer: Option<OpenTurn>,
    /// The calls that have been asked for.
    calls: BTreeMap<String, ToolCall>,
    /// Those of them that are under way, in the order of their start.
    open_calls: Vec<String>,
    told: Vec<RunEvent>,
}

#[derive(Debug)]
struct OpenTurn {
    node: String,
    /// The part of its text that has been sent.
    text: String,
}

impl History {
    pub(crate) fn new(run: RunId) -> Self {
        Self {
            run,
            newest: 0,
            is_over: false,
            has_started: false,
            steps: 0,
            turns: 0,
            answer: None,
            calls: BTreeMap::new(),
            open_calls: Vec::new(),
            told: Vec::new(),
        }
    }

    /// The id of the newest event.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Nothing more will happen.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The events that are new. Entries are to be given once, in order; the output of a completed run with its head.
    pub(crate) fn read(&mut self, read: &RunEvents) -> Vec<RunEvent> {
        let run = &read.run;
        if self.newest == 0 {
            self.tell_status(1, run.created_at, RunStatus::Queued);
        }
        for entry in &read.entries {
            self.start_before(entry, run.started_at);
            match entry {
                JournalEntry::StreamChunk(chunk) => self.read_partial(chunk),
                JournalEntry::Step(step) => {
                    self.read_step(step);
                    self.steps = step.index + 1;
                }
            }
        }
        if let Some(at) = run.started_at {
            self.start(self.steps, at);
        }
        if run.status.is_final() && !self.is_over {
            self.end(run);
        }
        std::mem::take(&mut self.told)
    }

    /// Tells that a worker has taken the run, unless that came after this entry: a run can be paused and continued before.
    fn start_before(&mut self, entry: &JournalEntry, started_at: Option<DateTime<Utc>>) {
        let Some(at) = started_at else { return };
        match entry {
            JournalEntry::StreamChunk(chunk) => self.start(chunk.position, at),
            JournalEntry::Step(step) => {
                let by_others = matches!(
                    step.event,
                    StepEvent::Paused | StepEvent::Continued | StepEvent::Stopped
                );
                if !by_others || at <= step.at {
                    self.start(step.index, at);
                }
            }
        }
    }

    /// `index`: of the entry that follows.
    fn start(&mut self, index: u32, at: DateTime<Utc>) {
        if !std::mem::replace(&mut self.has_started, true) {
            self.tell_status(ids(index, 0).next(), at, RunStatus::Running);
        }
    }

    fn read_partial(&mut self, chunk: &StreamChunk) {
        // At most two events.
        let mut ids = ids(chunk.position, 1 + 2 * u64::from(chunk.sequence));
        match &chunk.event {
            StreamChunkEvent::ModelAsked { model, attempt } if self.answer.is_some() => {
                self.restart(&mut ids, chunk.at, Some((model, *attempt)));
            }
            StreamChunkEvent::ModelAsked { model, .. } => {
                self.start_answer(&mut ids, chunk.at, Some(model));
            }
            StreamChunkEvent::Text { text } => {
                if self.answer.is_none() {
                    self.start_answer(&mut ids, chunk.at, None);
                }
                self.tell_text(&mut ids, chunk.at, text);
            }
        }
    }

    fn read_step(&mut self, step: &Step) {
        let (mut ids, at) = (ids(step.index, FIRST_ENTRY_EVENT), step.at);
        match &step.event {
            StepEvent::ModelAnswered {
                text,
                tool_calls,
                usage,
                content,
                ..
            } => {
                if self.answer.is_none() {
                    let model = content.as_ref().map(|content| &content.model);
                    self.start_answer(&mut ids, at, model);
                }
                let told = self.answer.as_ref().map_or("", |answer| &answer.text);
                if !text.starts_with(told) {
                    self.restart(&mut ids, at, None);
                }
                // What has not been told while the model wrote.
                let told = self.answer.as_ref().map_or(0, |answer| answer.text.len());
                for piece in pieces(&text[told..]) {
                    self.tell_text(&mut ids, at, piece);
                }
                let asked: Vec<Value> = tool_calls
                    .iter()
                    .map(|call| json!({"node_id": call.id, "tool": call.tool}))
                    .collect();
                let end =
                    json!({"node_type": "model", "ok": true, "tool_calls": asked, "usage": usage});
                self.complete_answer(&mut ids, at, end);
                let calls = tool_calls
                    .iter()
                    .map(|call| (call.id.clone(), call.clone()));
                self.calls.extend(calls);
            }
            StepEvent::ToolIntended { call_id, .. } => self.start_call(&mut ids, at, call_id),
            StepEvent::ToolReturned { call_id, outcome } => {
                // A call that was refused has not begun.
                if !self.open_calls.contains(call_id) {
                    self.start_call(&mut ids, at, call_id);
                }
                let end = match outcome {
                    ToolOutcome::Ok(value) => {
                        let (result, is_cut) = cut(value);
                        json!({"ok": true, "result": result, "cut": is_cut})
                    }
                    ToolOutcome::Error(error) => {
                        let (error, is_cut) = cut(&Value::from(error.as_str()));
                        json!({"ok": false, "error": error, "cut": is_cut})
                    }
                };
                self.complete_call(&mut ids, at, call_id, end);
            }
            StepEvent::Paused => self.tell_status(ids.next(), at, RunStatus::Paused),
            StepEvent::Continued if self.has_started => {
                self.tell_status(ids.next(), at, RunStatus::Running);
            }
            StepEvent::Continued => self.tell_status(ids.next(), at, RunStatus::Queued),
            // The end tells.
            StepEvent::Stopped => {}
        }
    }

    fn end(&mut self, run: &Run) {
        let mut ids = ids(run.steps, FIRST_FINAL_EVENT);
        let at = run.finished_at.unwrap_or(run.created_at);
        let why = run.error.as_deref().unwrap_or("stopped");
        let broken_off = json!({"ok": false, "error": why, "cut": false});
        for call in std::mem::take(&mut self.open_calls) {
            self.complete_call(&mut ids, at, &call, broken_off.clone());
        }
        let mut end = broken_off;
        end["node_type"] = "model".into();
        self.complete_answer(&mut ids, at, end);
        self.tell_status(ids.next(), at, run.status);
        if run.status == RunStatus::Failed {
            let error = json!({ "message": run.error });
            self.tell(ids.next(), "error", at, None, error);
        }
        let result = json!({"status": shown(run.status), "output": run.output, "error": run.error});
        self.tell(ids.next(), "done", at, None, result);
        self.is_over = true;
    }

    fn start_answer(&mut self, ids: &mut Ids, at: DateTime<Utc>, model: Option<&ModelName>) {
        self.turns += 1;
        let node = format!("model-{}", self.turns);
        let start = json!({"node_type": "model", "model": model.map(ToString::to_string)});
        self.tell(ids.next(), "node_started", at, Some(&node), start);
        let text = String::new();
        self.answer = Some(OpenTurn { node, text });
    }

    /// The part of the answer that has been sent is void.
    fn restart(&mut self, ids: &mut Ids, at: DateTime<Utc>, asked: Option<(&ModelName, u32)>) {
        let Some(answer) = &mut self.answer else {
            return;
        };
        answer.text.clear();
        let node = answer.node.clone();
        let mut log = json!({
            "code": "turn.restarted",
            "message": "The answer begins again; its text so far is void",
        });
        if let Some((model, attempt)) = asked {
            log["model"] = model.to_string().into();
            log["attempt"] = attempt.into();
        }
        self.tell(ids.next(), "log", at, Some(&node), log);
    }

    fn tell_text(&mut self, ids: &mut Ids, at: DateTime<Utc>, text: &str) {
        if let Some(answer) = &mut self.answer {
            answer.text.push_str(text);
            let node = answer.node.clone();
            self.tell(
                ids.next(),
                "delta",
                at,
                Some(&node),
                json!({ "text": text }),
            );
        }
    }

    fn complete_answer(&mut self, ids: &mut Ids, at: DateTime<Utc>, end: Value) {
        if let Some(answer) = self.answer.take() {
            self.tell(ids.next(), "node_completed", at, Some(&answer.node), end);
        }
    }

    fn start_call(&mut self, ids: &mut Ids, at: DateTime<Utc>, call_id: &str) {
        let call = self.calls.get(call_id);
        let (arguments, is_cut) = cut(call.map_or(&Value::Null, |call| &call.arguments));
        let tool = call.map(|call| call.tool.as_str());
        let start =
            json!({"node_type": "tool", "tool": tool, "arguments": arguments, "cut": is_cut});
        self.tell(ids.next(), "node_started", at, Some(call_id), start);
        self.open_calls.push(call_id.to_owned());
    }

    fn complete_call(&mut self, ids: &mut Ids, at: DateTime<Utc>, call_id: &str, mut end: Value) {
        self.open_calls.retain(|open| open != call_id);
        end["node_type"] = "tool".into();
        end["tool"] = self
            .calls
            .get(call_id)
            .map(|call| call.tool.as_str())
            .into();
        self.tell(ids.next(), "node_completed", at, Some(call_id), end);
    }

    fn tell_status(&mut self, id: u64, at: DateTime<Utc>, status: RunStatus) {
        self.tell(id, "status", at, None, json!({ "status": shown(status) }));
    }

    fn tell(
        &mut self,
        id: u64,
        name: &'static str,
        at: DateTime<Utc>,
        node: Option<&str>,
        mut data: Value,
    ) {
        data["execution_id"] = self.run.to_string().into();
        data["node_id"] = node.into();
        data["at"] = json!(at);
        self.newest = id;
        self.told.push(RunEvent { id, name, data });
    }
}

/// The ids of one place, from one number on.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0 - 1
    }
}

/// `index`: of the journal. The first place is the head's.
fn ids(index: u32, first: u64) -> Ids {
    Ids((u64::from(index) + 1) * EVENT_ID_STRIDE + first)
}

/// The status as executions have it.
fn shown(status: RunStatus) -> &'static str {
    match status {
        RunStatus::WaitingApproval => RunStatus::Paused.as_str(),
        other => other.as_str(),
    }
}

/// A value, or the beginning of its JSON, or of it if it is a text; and whether that is not all.
fn cut(value: &Value) -> (Value, bool) {
    let json = value.to_string();
    if json.len() <= MAX_TOLD {
        return (value.clone(), false);
    }
    let text = value.as_str().unwrap_or(&json);
    let end = text.floor_char_boundary(MAX_TOLD);
    (text[..end].into(), true)
}

#[cfg(test)]
mod tests;
