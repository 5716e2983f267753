//! Runs that nothing disturbs.

use chrono::TimeDelta;
use domain::agent::{AgentState, AgentType, MAX_CONSECUTIVE_FAILURES};
use domain::message::Advance;
use domain::run::{MessageKind, MessageLevel, RunStatus};
use engine::Progress;
use serde_json::json;

use crate::platform::Platform;

#[tokio::test]
async fn a_weather_check_reports_the_weather_in_three_writes() {
    let platform = Platform::start().await;
    let parameters = json!({ "location": "Bern", "units": "metric" });
    let agent = platform.agent(AgentType::WeatherCheck, parameters).await;
    let run = platform.run_of(&agent, json!({})).await;
    assert_eq!(run.status, RunStatus::Queued);

    assert_eq!(platform.advance(&run).await, Progress::Finished);
    let stored = platform.stored(&run).await;
    assert_eq!(
        (stored.status, stored.error.as_deref()),
        (RunStatus::Completed, None)
    );
    assert_eq!((stored.version, stored.steps), (3, 4));
    assert!(stored.lease.is_none() && stored.due_at.is_none());
    assert!(stored.started_at.is_some() && stored.finished_at.is_some());
    let output = stored.output.unwrap();
    assert_eq!(output["weather"]["current"]["temperature"], 21.5);
    assert!(output["text"].as_str().unwrap().contains("21.5"));

    let [message] = &platform.shown(&run).await[..] else {
        panic!("one message")
    };
    assert_eq!(
        (message.kind, message.level),
        (MessageKind::Text, MessageLevel::Info)
    );
    assert_eq!(
        (message.title.as_str(), &output["text"]),
        ("Tester", &json!(message.content))
    );
    assert_eq!(platform.advance(&run).await, Progress::Idle);
}

#[tokio::test]
async fn a_run_without_tools_costs_two_writes() {
    let platform = Platform::start().await;
    let parameters = json!({ "instructions": "Sum it up." });
    let agent = platform.agent(AgentType::Freeform, parameters).await;
    let run = platform
        .run_of(&agent, json!("The sky is blue. Grass is green."))
        .await;
    platform.advance(&run).await;
    let stored = platform.stored(&run).await;
    assert_eq!((stored.status, stored.version), (RunStatus::Completed, 2));
    assert!(stored.tokens.input > 0);
}

#[tokio::test]
async fn two_workers_that_get_the_same_message_call_once() {
    let platform = Platform::start().await;
    let agent = platform.requester("POST", "/ping").await;
    for _ in 0..10 {
        let run = platform.run_of(&agent, json!({})).await;
        let before = platform.hits().len();
        let (one, other) = tokio::join!(platform.advance(&run), platform.advance(&run));
        assert!([one, other].contains(&Progress::Finished));
        assert!([one, other].contains(&Progress::Idle));
        assert_eq!(platform.hits().len(), before + 1);
        assert_eq!(platform.stored(&run).await.version, 4);
    }
}

#[tokio::test]
async fn five_failures_in_a_row_disable_an_agent() {
    let platform = Platform::start().await;
    let parameters = json!({ "location": "Bern" });
    let agent = platform.agent(AgentType::WeatherCheck, parameters).await;
    // Longer than the tool takes.
    let wrong = json!({ "location": "x".repeat(201) });
    let fail = async || {
        let run = platform.run_of(&agent, wrong.clone()).await;
        platform.advance(&run).await;
        platform.stored(&run).await
    };

    fail().await;
    let run = platform.run_of(&agent, json!({})).await;
    platform.advance(&run).await;
    assert_eq!(platform.reread(&agent).await.consecutive_failures, 0);

    for failures in 1..MAX_CONSECUTIVE_FAILURES {
        let run = fail().await;
        assert_eq!(run.status, RunStatus::Failed);
        assert!(run.error.unwrap().contains("location"));
        assert_eq!(platform.reread(&agent).await.consecutive_failures, failures);
    }
    let last = fail().await;
    let disabled = platform.reread(&agent).await;
    assert_eq!(disabled.state, AgentState::Disabled);
    let [message] = &platform.shown(&last).await[..] else {
        panic!("one message")
    };
    assert_eq!(
        (message.kind, message.level),
        (MessageKind::Alert, MessageLevel::Critical)
    );

    let refused = platform
        .starter
        .accept(platform.start_run(&disabled, json!({})))
        .await;
    assert!(matches!(refused, Err(domain::Error::Refused(_))));
}

#[tokio::test]
async fn failures_at_the_same_time_are_all_counted() {
    let platform = Platform::start().await;
    let agent = platform
        .agent(AgentType::WeatherCheck, json!({ "location": "Bern" }))
        .await;
    let wrong = json!({ "location": "x".repeat(201) });
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(platform.run_of(&agent, wrong.clone()).await);
    }
    let advance = |index: usize| platform.advance(&runs[index]);
    tokio::join!(advance(0), advance(1), advance(2), advance(3));
    assert_eq!(platform.reread(&agent).await.consecutive_failures, 4);
}

#[tokio::test]
async fn a_run_near_the_deadline_is_given_back() {
    let platform = Platform::start().await;
    let agent = platform
        .requester_of(&[("POST", "/slow"), ("POST", "/ping")])
        .await;
    let run = platform.run_of(&agent, json!({})).await;
    let soon = platform.clock.now() + TimeDelta::seconds(41);
    let message = Advance::of(&run);
    let advance = |deadline| platform.runner.advance(&message, deadline);

    assert!(matches!(
        advance(soon).await.unwrap(),
        Progress::Yielded { .. }
    ));
    let stored = platform.stored(&run).await;
    assert_eq!((stored.status, stored.lease), (RunStatus::Running, None));
    assert!(stored.due_at.unwrap() <= platform.clock.now());
    assert_eq!(platform.hits().len(), 1);

    // Without time for a call nothing is even begun.
    assert!(matches!(
        advance(soon).await.unwrap(),
        Progress::Yielded { .. }
    ));
    assert_eq!(platform.stored(&run).await.version, stored.version);

    assert_eq!(platform.advance(&run).await, Progress::Finished);
    assert_eq!(platform.hits().len(), 2);
    let finished = platform.stored(&run).await;
    assert_eq!(
        (finished.status, finished.lost_leases),
        (RunStatus::Completed, 0)
    );
}

#[tokio::test]
async fn no_deadline_leaves_an_intent_without_its_call() {
    let platform = Platform::start().await;
    let agent = platform.requester("POST", "/ping").await;
    for microseconds in (0..40_000).step_by(500) {
        let run = platform.run_of(&agent, json!({})).await;
        let deadline =
            platform.clock.now() + TimeDelta::seconds(40) + TimeDelta::microseconds(microseconds);
        let message = Advance::of(&run);
        platform.runner.advance(&message, deadline).await.unwrap();
        platform.advance(&run).await;
        let stored = platform.stored(&run).await;
        assert_eq!(stored.status, RunStatus::Completed, "{:?}", stored.error);
    }
    assert_eq!(platform.hits().len(), 80);
}
