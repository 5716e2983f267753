//! Accepting runs, from a caller or by a schedule.

use chrono::TimeDelta;
use domain::Error;
use domain::agent::{Agent, AgentState, AgentType};
use domain::plan::PlanUsage;
use domain::run::{Run, RunTrigger};
use serde_json::json;

use crate::platform::Platform;

async fn freeform(platform: &Platform) -> Agent {
    let parameters = json!({ "instructions": "Sum it up." });
    platform.agent(AgentType::Freeform, parameters).await
}

async fn runs(platform: &Platform, agent: &Agent) -> Vec<Run> {
    platform.runs_of(agent).await
}

#[tokio::test]
async fn starting_a_run_again_gives_the_run_that_exists() {
    let platform = Platform::start().await;
    let agent = freeform(&platform).await;
    let mut limited = PlanUsage::unlimited(platform.clock.now());
    limited.limits.runs = Some(10);
    let mut start = platform.start_run(&agent, json!({ "a": 1 }));
    start.plan = &limited;
    let id = start.id;
    let first = platform.starter.accept(start).await.unwrap();
    let mut again = platform.start_run(&agent, json!({ "b": 2 }));
    (again.id, again.plan) = (id, &limited);
    let second = platform.starter.accept(again).await.unwrap();
    assert_eq!(
        (second.id, &second.input),
        (first.id, &Some(json!({ "a": 1 })))
    );
    assert_eq!(runs(&platform, &agent).await.len(), 1);
    assert_eq!(platform.messages_sent(), 1);

    // It counts once, and is there also when no other may start any more.
    let organization = agent.organization_id;
    let plan = platform.store.plan(organization, platform.clock.now());
    let mut plan = plan.await.unwrap();
    assert_eq!(plan.runs, 1);
    plan.limits.runs = Some(1);
    let mut again = platform.start_run(&agent, json!({}));
    (again.id, again.plan) = (id, &plan);
    assert_eq!(platform.starter.accept(again).await.unwrap().id, id);
    let mut other = platform.start_run(&agent, json!({}));
    other.plan = &plan;
    let refused = platform.starter.accept(other).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_run_is_refused() {
    let platform = Platform::start().await;
    let mut agent = freeform(&platform).await;
    let large = platform.start_run(&agent, json!("x".repeat(2_000_000)));
    match platform.starter.accept(large).await {
        Err(Error::Invalid(errors)) => assert_eq!(errors[0].field, "payload"),
        other => panic!("{other:?}"),
    }
    agent.state = AgentState::Paused;
    let paused = platform.start_run(&agent, json!({}));
    match platform.starter.accept(paused).await {
        Err(Error::Refused(why)) => assert_eq!(why, "agent is paused"),
        other => panic!("{other:?}"),
    }
    assert!(runs(&platform, &agent).await.is_empty());
}

#[tokio::test]
async fn a_firing_starts_one_run_however_often_it_is_tried() {
    let platform = Platform::start().await;
    let mut agent = freeform(&platform).await;
    agent.schedule = Some("* * * * *".to_owned());
    agent.next_run_at = agent.next_firing(platform.clock.now());
    let agent = platform.change(&agent).await;
    let firing = agent.next_run_at.unwrap();
    assert!(platform.starter.fire(&agent).await.unwrap().is_none());

    platform
        .clock
        .advance(firing - platform.clock.now() + TimeDelta::milliseconds(1));
    let (one, other) = tokio::join!(platform.starter.fire(&agent), platform.starter.fire(&agent));
    let started: Vec<Run> = [one, other]
        .into_iter()
        .filter_map(Result::unwrap)
        .collect();
    assert_eq!(started.len(), 1);
    assert_eq!(
        (started[0].trigger, started[0].created_at),
        (RunTrigger::Schedule, firing)
    );

    // The owner's clock was behind, and has set the same firing again.
    let mut set_back = platform.reread(&agent).await;
    assert_eq!(set_back.next_run_at, Some(firing + TimeDelta::minutes(1)));
    set_back.next_run_at = Some(firing);
    let set_back = platform.change(&set_back).await;
    assert!(platform.starter.fire(&set_back).await.unwrap().is_none());

    let agent = platform.reread(&agent).await;
    assert_eq!(agent.next_run_at, Some(firing + TimeDelta::minutes(1)));

    // No tick came for two hours.
    platform.clock.advance(TimeDelta::hours(2));
    let late = platform.starter.fire(&agent).await.unwrap().unwrap();
    let now = platform.clock.now();
    assert!(now - late.created_at < TimeDelta::minutes(1));
    let agent = platform.reread(&agent).await;
    assert!(agent.next_run_at.unwrap() > now);
    assert!(platform.starter.fire(&agent).await.unwrap().is_none());
    assert_eq!(runs(&platform, &agent).await.len(), 2);

    // Paused between the reading of the index and now.
    platform.clock.advance(TimeDelta::minutes(2));
    let paused = Agent {
        state: AgentState::Paused,
        ..agent
    };
    assert!(platform.starter.fire(&paused).await.unwrap().is_none());
}
