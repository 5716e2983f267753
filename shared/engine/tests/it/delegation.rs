//! Runs that start runs of other agents.

use chrono::TimeDelta;
use domain::agent::{Agent, AgentState, AgentType};
use domain::run::{MAX_DEPTH, Run, RunStatus, RunTrigger};
use engine::Progress;
use serde_json::{Value, json};

use crate::platform::Platform;

async fn worker(platform: &Platform) -> Agent {
    let parameters = json!({ "instructions": "Sum it up." });
    platform.agent(AgentType::Freeform, parameters).await
}

fn to(agent: &Agent) -> Value {
    json!({ "agent": agent.id, "rest": {} })
}

async fn only_run_of(platform: &Platform, agent: &Agent) -> Run {
    let [run] = &platform.runs_of(agent).await[..] else {
        panic!("one run")
    };
    run.clone()
}

/// The output or error of a run that has ended.
async fn said(platform: &Platform, run: &Run) -> String {
    let stored = platform.stored(run).await;
    assert_eq!(stored.status, RunStatus::Completed, "{:?}", stored.error);
    stored.output.unwrap()["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_whose_worker_died_has_started_one_run_and_finds_it_again() {
    let platform = Platform::start().await;
    let (delegator, worker) = (platform.delegator().await, worker(&platform).await);
    let input =
        json!({ "agent": worker.id, "rest": { "text": "The disk is full. It was the log." } });
    let run = platform.run_of(&delegator, input).await;
    // It waits for a run that no worker takes.
    platform.advance_and_crash(&run).await;
    let child = only_run_of(&platform, &worker).await;
    assert_eq!(
        (
            child.status,
            child.trigger,
            child.lineage.as_ref().unwrap().parent
        ),
        (RunStatus::Queued, RunTrigger::Agent, run.id)
    );

    // The agent is paused by the time that another worker makes the call again.
    let paused = Agent {
        state: AgentState::Paused,
        ..platform.reread(&worker).await
    };
    platform.change(&paused).await;
    platform.clock.advance(TimeDelta::seconds(31));
    let (again, of_child) = tokio::join!(platform.advance_alone(&run), platform.advance(&child));
    assert_eq!((again, of_child), (Progress::Finished, Progress::Finished));
    assert_eq!(only_run_of(&platform, &worker).await.id, child.id);
    let said = said(&platform, &run).await;
    assert!(
        said.contains(&child.id.to_string()) && said.contains("The disk is full."),
        "{said}"
    );

    // Another run of the same agents is another call.
    platform
        .change(&Agent {
            state: AgentState::Active,
            ..platform.reread(&worker).await
        })
        .await;
    let other = platform.run_of(&delegator, to(&worker)).await;
    platform.advance_and_crash(&other).await;
    assert_eq!(platform.runs_of(&worker).await.len(), 2);
}

#[tokio::test]
async fn agents_that_start_each_other_come_to_an_end() {
    let platform = Platform::start().await;
    let mut agents = Vec::new();
    for _ in 0..=MAX_DEPTH + 1 {
        agents.push(platform.delegator().await);
    }
    // Each is told to start the next; the last of them, the first again.
    let mut input = to(&agents[0]);
    for agent in agents[1..].iter().rev() {
        input = json!({ "agent": agent.id, "rest": input });
    }
    let mut run = platform.run_of(&agents[0], input).await;
    let mut depth = 0;
    loop {
        let next = &agents[depth + 1];
        let started = async {
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                if let [child] = &platform.runs_of(next).await[..] {
                    break child.clone();
                }
            }
        };
        // The result is not waited for: the worker is gone once the next run is there.
        tokio::select! {
            child = started => run = child,
            _ = platform.advance(&run) => break,
        }
        depth += 1;
        assert_eq!(run.lineage.as_ref().unwrap().agents.len(), depth);
    }
    assert_eq!(depth, MAX_DEPTH);
    assert!(said(&platform, &run).await.contains("5 runs deep"));

    let circle = platform.run_of(&agents[1], to(&agents[1])).await;
    platform.advance(&circle).await;
    assert!(said(&platform, &circle).await.contains("in a circle"));
}

#[tokio::test]
async fn who_cannot_be_started_is_said_to_the_model() {
    let platform = Platform::start().await;
    let elsewhere = Platform::start().await;
    let (delegator, foreign) = (platform.delegator().await, worker(&elsewhere).await);
    let paused = Agent {
        state: AgentState::Paused,
        ..worker(&platform).await
    };
    let paused = platform.change(&paused).await;
    for (agent, expected) in [
        (json!(foreign.id), "no such agent"),
        (json!("Nobody"), "no such agent"),
        (json!("Tester"), "several have this name"),
        (json!(paused.id), "agent is paused"),
    ] {
        let run = platform
            .run_of(&delegator, json!({ "agent": agent, "rest": {} }))
            .await;
        platform.advance(&run).await;
        let said = said(&platform, &run).await;
        assert!(said.contains(expected), "{agent}: {said}");
    }
    let parameters = json!({
        "instructions": format!("@trigger_agent {{\"agent\": \"{}\"}}", delegator.id),
        "tools": ["trigger_agent"], "allowed_agents": [paused.id],
    });
    let confined = platform.agent(AgentType::Freeform, parameters).await;
    let run = platform.run_of(&confined, json!({})).await;
    platform.advance(&run).await;
    assert!(said(&platform, &run).await.contains("no such agent"));
    assert!(platform.runs_of(&paused).await.is_empty());
    assert_eq!(platform.runs_of(&delegator).await.len(), 4);
}

#[tokio::test]
async fn a_run_starts_only_so_many_others() {
    let platform = Platform::start().await;
    let worker = worker(&platform).await;
    let directive = format!("@trigger_agent {{\"agent\": \"{}\"}}\n", worker.id);
    let parameters = json!({
        "instructions": directive.repeat(22), "tools": ["trigger_agent"], "allowed_agents": [worker.id], "max_steps": 30,
    });
    let busy = platform.agent(AgentType::Freeform, parameters).await;
    let run = platform.run_of(&busy, json!({})).await;
    platform.advance(&run).await;
    let said = said(&platform, &run).await;
    assert_eq!(said.matches("is queued").count(), 20, "{said}");
    assert_eq!(
        said.matches("this run may start 20 others").count(),
        2,
        "{said}"
    );
    assert_eq!(platform.runs_of(&worker).await.len(), 20);
}
