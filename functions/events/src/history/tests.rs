use chrono::TimeDelta;
use domain::ids::{AgentId, AgentVersionId, OrganizationId, WorkspaceId};
use domain::run::{RunTrigger, TokenUsage};
use uuid::Uuid;

use super::*;

fn run(status: RunStatus, steps: u32) -> Run {
    let at = DateTime::UNIX_EPOCH;
    Run {
        id: RunId::from(Uuid::nil()),
        organization_id: OrganizationId::from(Uuid::nil()),
        workspace_id: WorkspaceId::from(Uuid::nil()),
        agent_id: AgentId::from(Uuid::nil()),
        agent_version_id: AgentVersionId::from(Uuid::nil()),
        status,
        version: 0,
        steps,
        trigger: RunTrigger::Manual,
        signal: None,
        lineage: None,
        input: None,
        output: (status == RunStatus::Completed).then(|| json!({"text": "It rains."})),
        error: (status == RunStatus::Failed).then(|| "no model answered".to_owned()),
        tokens: TokenUsage::default(),
        cost_micros: 0,
        lease: None,
        lost_leases: 0,
        abandoned_leases: 0,
        counts_in_plan: false,
        pause_requested: false,
        worked_millis: 0,
        showing: None,
        due_at: None,
        created_at: at,
        started_at: (status != RunStatus::Queued).then(|| at + TimeDelta::seconds(1)),
        finished_at: status.is_final().then(|| at + TimeDelta::seconds(9)),
    }
}

fn step(index: u32, event: StepEvent) -> JournalEntry {
    let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(2);
    JournalEntry::Step(Step { index, at, event })
}

fn partial(position: u32, sequence: u32, event: StreamChunkEvent) -> JournalEntry {
    JournalEntry::StreamChunk(StreamChunk {
        position,
        sequence,
        at: DateTime::UNIX_EPOCH + TimeDelta::seconds(2),
        event,
    })
}

fn answered(text: &str, tool_calls: &[&str]) -> StepEvent {
    let call = |id: &&str| ToolCall {
        id: (*id).to_owned(),
        tool: "http_request".to_owned(),
        arguments: json!({"url": "x".repeat(5000)}),
    };
    StepEvent::ModelAnswered {
        text: text.to_owned(),
        tool_calls: tool_calls.iter().map(call).collect(),
        usage: TokenUsage::default(),
        cost_micros: 0,
        content: None,
    }
}

fn asked(attempt: u32) -> StreamChunkEvent {
    let model = "openai/gpt-5-mini".parse().unwrap();
    StreamChunkEvent::ModelAsked { model, attempt }
}

fn text(text: &str) -> StreamChunkEvent {
    let text = text.to_owned();
    StreamChunkEvent::Text { text }
}

fn intended(call_id: &str) -> StepEvent {
    StepEvent::ToolIntended {
        call_id: call_id.to_owned(),
        idempotent: true,
    }
}

fn returned(call_id: &str, outcome: ToolOutcome) -> StepEvent {
    let call_id = call_id.to_owned();
    StepEvent::ToolReturned { call_id, outcome }
}

/// A run with everything in it: a tool call, a refused one, pauses, an answer that began twice, one that was not announced.
fn everything() -> Vec<JournalEntry> {
    vec![
        partial(0, 0, asked(1)),
        partial(0, 1, text("I shall ")),
        step(0, answered("I shall ask two of them.", &["c1", "c2"])),
        step(1, intended("c1")),
        step(2, returned("c1", ToolOutcome::Ok(json!("y".repeat(5000))))),
        step(
            3,
            returned("c2", ToolOutcome::Error("no such tool".to_owned())),
        ),
        partial(4, 0, asked(1)),
        partial(4, 1, text("It sn")),
        step(4, StepEvent::Paused),
        step(5, StepEvent::Continued),
        partial(6, 0, asked(1)),
        partial(6, 1, text("It ")),
        partial(6, 2, asked(2)),
        partial(6, 3, text("Rain, rain,")),
        step(6, answered("It rains, and it will go on raining.", &["c3"])),
        step(7, intended("c3")),
    ]
}

fn read(history: &mut History, run: Run, entries: &[JournalEntry]) -> Vec<RunEvent> {
    let entries = entries.to_vec();
    history.read(&RunEvents { run, entries })
}

#[test]
fn the_same_events_come_of_a_run_however_it_is_read() {
    let entries = everything();
    let steps = 8;
    let over = || run(RunStatus::Failed, steps);
    let mut history = History::new(over().id);
    let whole = read(&mut history, over(), &entries);
    assert!(history.is_over());
    assert!(whole.is_sorted_by(|left, right| left.id < right.id));

    for first in 0..=entries.len() {
        let mut history = History::new(over().id);
        let mut events = read(&mut history, run(RunStatus::Queued, 0), &[]);
        events.extend(read(
            &mut history,
            run(RunStatus::Running, steps),
            &entries[..first],
        ));
        events.extend(read(&mut history, run(RunStatus::Paused, steps), &[]));
        for entry in &entries[first..] {
            let entry = std::slice::from_ref(entry);
            events.extend(read(&mut history, run(RunStatus::Running, steps), entry));
        }
        events.extend(read(&mut history, over(), &[]));
        assert_eq!(events, whole);
    }
}

#[test]
fn every_node_that_starts_completes_and_its_text_is_what_the_model_wrote() {
    let mut history = History::new(RunId::from(Uuid::nil()));
    let events = read(&mut history, run(RunStatus::Failed, 8), &everything());
    let of = |name: &str| -> Vec<&Value> {
        let named = events.iter().filter(|event| event.name == name);
        named.map(|event| &event.data).collect()
    };
    let statuses: Vec<&Value> = of("status").iter().map(|data| &data["status"]).collect();
    assert_eq!(
        statuses,
        ["queued", "running", "paused", "running", "failed"]
    );
    let nodes = |name| -> Vec<&str> {
        let ids = of(name)
            .into_iter()
            .map(|data| data["node_id"].as_str().unwrap());
        ids.collect()
    };
    assert_eq!(
        nodes("node_started"),
        ["model-1", "c1", "c2", "model-2", "c3"]
    );
    assert_eq!(
        nodes("node_completed"),
        ["model-1", "c1", "c2", "model-2", "c3"]
    );

    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for event in &events {
        let node = event.data["node_id"].as_str().unwrap_or_default();
        match event.name {
            "log" => {
                assert_eq!(event.data["code"], "turn.restarted");
                texts.entry(node).or_default().clear();
            }
            "delta" => texts
                .entry(node)
                .or_default()
                .push_str(event.data["text"].as_str().unwrap()),
            _ => {}
        }
    }
    assert_eq!(texts["model-1"], "I shall ask two of them.");
    assert_eq!(texts["model-2"], "It rains, and it will go on raining.");

    let completed = of("node_completed");
    assert_eq!(
        (&completed[1]["ok"], &completed[1]["cut"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(completed[1]["result"].as_str().unwrap().len(), MAX_TOLD);
    assert_eq!(
        (&completed[2]["ok"], &completed[2]["error"]),
        (&json!(false), &json!("no such tool"))
    );
    assert_eq!(completed[4]["error"], "no model answered");
    assert_eq!(of("error")[0]["message"], "no model answered");
    let last = events.last().unwrap();
    assert_eq!(
        (last.name, &last.data["status"]),
        ("done", &json!("failed"))
    );
}

#[test]
fn a_run_may_be_paused_before_a_worker_takes_it() {
    let entries = [
        step(0, StepEvent::Paused),
        step(1, StepEvent::Continued),
        step(2, answered("Done.", &[])),
    ];
    let over = || {
        let mut over = run(RunStatus::Completed, 3);
        // After both, before the answer.
        over.started_at = Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(3));
        over
    };
    let mut history = History::new(over().id);
    let mut live = Vec::new();
    let waiting = |status, steps| Run {
        started_at: None,
        ..run(status, steps)
    };
    live.extend(read(
        &mut history,
        waiting(RunStatus::Paused, 1),
        &entries[..1],
    ));
    live.extend(read(
        &mut history,
        waiting(RunStatus::Queued, 2),
        &entries[1..2],
    ));
    let taken = Run {
        started_at: over().started_at,
        ..run(RunStatus::Running, 2)
    };
    live.extend(read(&mut history, taken, &[]));
    live.extend(read(&mut history, over(), &entries[2..]));

    let whole = read(&mut History::new(over().id), over(), &entries);
    assert_eq!(live, whole);
    let statuses: Vec<&Value> = whole
        .iter()
        .filter(|event| event.name == "status")
        .map(|event| &event.data["status"])
        .collect();
    assert_eq!(
        statuses,
        ["queued", "paused", "queued", "running", "completed"]
    );
}

#[test]
fn a_run_that_never_started_tells_its_end() {
    let mut history = History::new(RunId::from(Uuid::nil()));
    let mut stopped = run(RunStatus::Stopped, 1);
    stopped.started_at = None;
    let names: Vec<_> = read(&mut history, stopped, &[step(0, StepEvent::Stopped)])
        .into_iter()
        .map(|event| (event.id, event.name))
        .collect();
    assert_eq!(
        names,
        [(1, "status"), (2_900_000, "status"), (2_900_001, "done")]
    );
}
