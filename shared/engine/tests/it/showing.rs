//! Answers that are shown while they come: pieces of them, and the fence that keeps late ones out.

use chrono::TimeDelta;
use domain::Error;
use domain::run::{
    Lease, Run, RunStatus, Step, StepEvent, StreamChunk, StreamChunkEvent, TokenUsage,
};
use engine::Progress;
use serde_json::json;
use store::{EventCursor, RunWrite};

use crate::platform::Platform;

fn piece(platform: &Platform, position: u32, sequence: u32) -> StreamChunk {
    StreamChunk {
        position,
        sequence,
        at: platform.clock.now(),
        event: StreamChunkEvent::Text {
            text: sequence.to_string(),
        },
    }
}

/// A worker takes the run and shows the first piece of an answer.
async fn shown(platform: &Platform, run: &Run, holder: u64) -> Run {
    let now = platform.clock.now();
    let held = Run {
        status: RunStatus::Running,
        lease: Some(Lease {
            holder,
            acquired_at: now,
            alone: false,
            place: None,
            until: now + TimeDelta::seconds(30),
        }),
        showing: Some(run.steps),
        ..run.clone()
    };
    let first = piece(platform, run.steps, 0);
    let is_shown = platform.store.show_answer(run, &held, &first).await;
    assert!(is_shown.unwrap());
    Run {
        version: run.version + 1,
        ..held
    }
}

async fn is_refused(platform: &Platform, held: &Run, sequence: u32) -> bool {
    let late = piece(platform, held.showing.unwrap(), sequence);
    let added = platform.store.append_chunk(held, &late).await;
    matches!(added, Err(Error::Conflict(_)))
}

#[tokio::test]
async fn a_watcher_reads_on_from_where_it_was() {
    let platform = Platform::start().await;
    let agent = platform.requester("GET", "/ping").await;
    let run = platform.run_of(&agent, json!({})).await;
    let held = shown(&platform, &run, 1).await;
    let second = piece(&platform, 0, 1);
    assert!(platform.store.append_chunk(&held, &second).await.unwrap());
    assert!(
        !platform.store.append_chunk(&held, &second).await.unwrap(),
        "its place is taken"
    );
    platform.clock.advance(TimeDelta::seconds(31));
    assert_eq!(platform.advance_alone(&run).await, Progress::Finished);
    assert!(
        is_refused(&platform, &held, 2).await,
        "its worker has lost the run"
    );

    let read = async |after| {
        let events = platform
            .store
            .run_events(run.workspace_id, run.id, after)
            .await;
        events.unwrap().unwrap()
    };
    let all = read(EventCursor::Start).await;
    assert_eq!(all.run.status, RunStatus::Completed);
    assert_eq!(all.entries.len(), 2 + all.run.steps as usize);
    for (seen, entry) in all.entries.iter().enumerate() {
        let rest = read(entry.cursor()).await;
        assert_eq!(rest.entries, all.entries[seen + 1..]);
        assert_eq!(rest.run.version, all.run.version);
    }
}

#[tokio::test]
async fn no_piece_lands_after_its_step_or_in_another_workers_time_or_after_the_end() {
    let platform = Platform::start().await;
    let agent = platform.requester("GET", "/ping").await;
    let write = async |read: &Run, run: &Run, steps: &[Step]| {
        let write = RunWrite {
            read,
            run,
            is_entered: true,
            steps,
            messages: &[],
            agent: None,
            audit: &[],
        };
        platform.store.write_run(write).await.unwrap();
    };

    // A renewal leaves the fence alone.
    let run = platform.run_of(&agent, json!({})).await;
    let held = shown(&platform, &run, 1).await;
    write(&held, &held, &[]).await;
    let renewed = platform.stored(&run).await;
    assert_eq!((renewed.version, renewed.showing), (2, Some(0)));
    let second = piece(&platform, 0, 1);
    assert!(
        platform
            .store
            .append_chunk(&renewed, &second)
            .await
            .unwrap()
    );
    let step = Step {
        index: 0,
        at: platform.clock.now(),
        event: StepEvent::ModelAnswered {
            text: "01".to_owned(),
            tool_calls: Vec::new(),
            usage: TokenUsage::default(),
            cost_micros: 0,
            content: None,
        },
    };
    let answered = Run {
        steps: 1,
        ..renewed.clone()
    };
    write(&renewed, &answered, &[step]).await;
    assert_eq!(platform.stored(&run).await.showing, None);
    assert!(is_refused(&platform, &renewed, 2).await, "after its step");

    let run = platform.run_of(&agent, json!({})).await;
    let held = shown(&platform, &run, 1).await;
    platform.clock.advance(TimeDelta::seconds(31));
    let other = Lease {
        holder: 2,
        ..held.lease.unwrap()
    };
    let taken = Run {
        lease: Some(other),
        ..held.clone()
    };
    write(&held, &taken, &[]).await;
    assert!(
        is_refused(&platform, &held, 1).await,
        "in another worker's time"
    );
    let taken = platform.stored(&run).await;
    assert_eq!(taken.showing, None, "the other one begins anew");

    for status in [RunStatus::Stopped, RunStatus::Paused] {
        let run = platform.run_of(&agent, json!({})).await;
        let held = shown(&platform, &run, 1).await;
        let ended = Run {
            status,
            lease: None,
            due_at: None,
            ..held.clone()
        };
        write(&held, &ended, &[]).await;
        assert!(is_refused(&platform, &held, 1).await, "{status:?}");
    }
}
