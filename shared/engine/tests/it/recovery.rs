//! Runs whose workers die, lag behind or meet a world that is down.

use chrono::TimeDelta;
use domain::message::Advance;
use domain::run::{Lease, MessageKind, MessageLevel, Run, RunStatus};
use engine::{Progress, give_up};
use serde_json::json;
use store::RunWrite;

use crate::platform::{Platform, SLOW};

#[tokio::test]
async fn a_post_whose_worker_died_is_not_repeated() {
    let platform = Platform::start().await;
    let agent = platform.requester("POST", "/hangs-once").await;
    let run = platform.run_of(&agent, json!({})).await;
    platform.advance_and_crash(&run).await;
    assert_eq!(
        platform.advance(&run).await,
        Progress::Idle,
        "the lease holds"
    );

    platform.clock.advance(TimeDelta::seconds(31));
    assert_eq!(
        platform.advance(&run).await,
        Progress::Suspected,
        "it may be what the worker died of"
    );
    assert_eq!(platform.advance_alone(&run).await, Progress::Finished);
    let stored = platform.stored(&run).await;
    assert_eq!(stored.status, RunStatus::Failed);
    assert_eq!(
        stored.error.as_deref(),
        Some("outcome unknown: http_request may or may not have taken effect")
    );
    assert_eq!(platform.hits().len(), 1);
    let [message] = &platform.shown(&run).await[..] else {
        panic!("one message")
    };
    assert_eq!(
        (message.kind, message.level),
        (MessageKind::Alert, MessageLevel::Warning)
    );
}

#[tokio::test]
async fn a_get_whose_worker_died_is_repeated_under_its_key() {
    let platform = Platform::start().await;
    let agent = platform.requester("GET", "/hangs-once").await;
    let run = platform.run_of(&agent, json!({})).await;
    platform.advance_and_crash(&run).await;

    platform.clock.advance(TimeDelta::seconds(31));
    assert_eq!(platform.advance_alone(&run).await, Progress::Finished);
    let stored = platform.stored(&run).await;
    assert_eq!(stored.status, RunStatus::Completed, "{:?}", stored.error);
    let hits = platform.hits();
    assert_eq!(hits.len(), 2);
    assert_eq!(hits[0], hits[1]);
    assert_eq!(hits[0].key, format!("{}:call_1_1", run.id));
}

#[tokio::test]
async fn an_abandoned_lease_is_taken_over_at_once_and_not_held_against_the_run() {
    let platform = Platform::start().await;
    let agent = platform.requester("GET", "/hangs-once").await;
    let run = platform.run_of(&agent, json!({})).await;
    platform.advance_and_crash(&run).await;

    let restart = platform.clock.now() + TimeDelta::milliseconds(1);
    platform.clock.advance(TimeDelta::milliseconds(2));
    let message = Advance {
        abandoned_before: Some(restart),
        ..Advance::of(&run)
    };
    assert_eq!(platform.deliver(&message).await, Progress::Finished);
    let stored = platform.stored(&run).await;
    assert_eq!(
        (stored.status, stored.lost_leases),
        (RunStatus::Completed, 0)
    );
}

#[tokio::test]
async fn a_run_that_ends_the_platform_at_every_start_is_not_taken_on_for_ever() {
    let platform = Platform::start().await;
    let agent = platform.requester("GET", "/ping").await;
    let run = platform.run_of(&agent, json!({})).await;
    for _ in 0..10 {
        let stored = platform.stored(&run).await;
        let now = platform.clock.now();
        assert!(!stored.status.is_final(), "{:?}", stored.error);
        let lease = Lease {
            holder: 7,
            acquired_at: now,
            alone: false,
            place: None,
            until: now + TimeDelta::seconds(30),
        };
        let taken = Run {
            status: RunStatus::Running,
            abandoned_leases: stored.abandoned_leases + u8::from(stored.lease.is_some()),
            lease: Some(lease),
            ..stored.clone()
        };
        write(&platform, &stored, &taken).await;
        platform.clock.advance(TimeDelta::milliseconds(2));
    }
    let message = Advance {
        abandoned_before: Some(platform.clock.now()),
        ..Advance::of(&run)
    };
    assert_eq!(platform.deliver(&message).await, Progress::Finished);
    let stored = platform.stored(&run).await;
    assert_eq!(stored.error.as_deref(), Some("worker crashed"));
    assert_eq!(platform.hits().len(), 0);
}

async fn write(platform: &Platform, read: &Run, run: &Run) {
    let write = RunWrite {
        read,
        run,
        is_entered: true,
        steps: &[],
        messages: &[],
        agent: None,
        audit: &[],
    };
    platform.store.write_run(write).await.unwrap();
}

/// Lets a worker take the lease and die: a worker that works on nothing else if `alone`.
async fn lose_a_lease(platform: &Platform, run: &Run, alone: bool) {
    let stored = platform.stored(run).await;
    let now = platform.clock.now();
    let taken = Run {
        status: RunStatus::Running,
        lost_leases: stored.lost_leases + u8::from(stored.lease.is_some_and(|lease| lease.alone)),
        lease: Some(Lease {
            holder: 7,
            acquired_at: now,
            alone,
            place: None,
            until: now + TimeDelta::seconds(30),
        }),
        ..stored.clone()
    };
    write(platform, &stored, &taken).await;
    platform.clock.advance(TimeDelta::seconds(31));
}

#[tokio::test]
async fn three_leases_that_are_lost_alone_at_one_step_end_the_run() {
    let platform = Platform::start().await;
    let agent = platform.requester("GET", "/ping").await;
    let run = platform.run_of(&agent, json!({})).await;
    for _ in 0..3 {
        lose_a_lease(&platform, &run, true).await;
    }
    assert_eq!(platform.advance_alone(&run).await, Progress::Finished);
    let stored = platform.stored(&run).await;
    assert_eq!(stored.error.as_deref(), Some("worker crashed"));
    assert!(platform.hits().is_empty());
}

#[tokio::test]
async fn a_run_is_not_blamed_for_the_company_it_was_in() {
    let platform = Platform::start().await;
    let agent = platform.requester("GET", "/ping").await;
    let run = platform.run_of(&agent, json!({})).await;
    for _ in 0..5 {
        lose_a_lease(&platform, &run, false).await;
    }
    assert_eq!(platform.advance(&run).await, Progress::Suspected);
    assert_eq!(platform.advance_alone(&run).await, Progress::Finished);
    let stored = platform.stored(&run).await;
    assert_eq!(stored.status, RunStatus::Completed, "{:?}", stored.error);
}

#[tokio::test]
async fn a_call_that_outlasts_the_lease_keeps_it() {
    let lease = TimeDelta::from_std(SLOW).unwrap() / 2;
    let platform = Platform::with_lease(lease).await;
    let agent = platform.requester("POST", "/slow").await;
    let run = platform.run_of(&agent, json!({})).await;
    let late = async {
        tokio::time::sleep(SLOW * 2 / 3).await;
        platform.advance(&run).await
    };
    let (worker, other) = tokio::join!(platform.advance(&run), late);
    assert_eq!((worker, other), (Progress::Finished, Progress::Idle));
    let stored = platform.stored(&run).await;
    assert_eq!(stored.status, RunStatus::Completed);
    assert!(stored.version > 4, "the lease was renewed");
    assert_eq!(platform.hits().len(), 1);
}

#[tokio::test]
async fn a_worker_that_has_lost_its_run_changes_nothing() {
    let lease = TimeDelta::from_std(SLOW).unwrap() * 3;
    let platform = Platform::with_lease(lease).await;
    let agent = platform.requester("POST", "/slow").await;
    let run = platform.run_of(&agent, json!({})).await;
    let stop = async {
        tokio::time::sleep(SLOW / 2).await;
        let mut stored = platform.stored(&run).await;
        let read = stored.clone();
        stored.status = RunStatus::Stopped;
        stored.lease = None;
        stored.due_at = None;
        let write = RunWrite {
            read: &read,
            run: &stored,
            is_entered: true,
            steps: &[],
            messages: &[],
            agent: None,
            audit: &[],
        };
        platform.store.write_run(write).await.unwrap();
    };
    let (worker, ()) = tokio::join!(platform.advance(&run), stop);
    assert_eq!(worker, Progress::Idle);
    let stored = platform.stored(&run).await;
    assert_eq!((stored.status, stored.steps), (RunStatus::Stopped, 2));
    assert_eq!(platform.reread(&agent).await.consecutive_failures, 0);
}

#[tokio::test]
async fn a_get_from_a_host_that_is_briefly_down_is_retried() {
    let platform = Platform::start().await;
    let parameters = json!({ "location": "Bern" });
    let agent = platform
        .agent(domain::agent::AgentType::WeatherCheck, parameters)
        .await;
    platform.fail_next("/v1/search");
    let run = platform.run_of(&agent, json!({})).await;
    platform.advance(&run).await;
    assert_eq!(platform.stored(&run).await.status, RunStatus::Completed);
}

#[tokio::test]
async fn the_run_of_a_dead_letter_fails_once() {
    let platform = Platform::start().await;
    let agent = platform.requester("POST", "/ping").await;
    let run = platform.run_of(&agent, json!({})).await;
    for _ in 0..2 {
        give_up(&platform.store, &platform.clock, run.workspace_id, run.id)
            .await
            .unwrap();
    }
    let stored = platform.stored(&run).await;
    assert_eq!(
        stored.error.as_deref(),
        Some("gave up: the run's message could not be processed")
    );
    assert_eq!(platform.shown(&run).await.len(), 1);
    assert_eq!(platform.reread(&agent).await.consecutive_failures, 1);
    assert_eq!(platform.advance(&run).await, Progress::Idle);
    assert!(platform.hits().is_empty());
}
