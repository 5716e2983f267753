//! Agents that run by the clock, and what the tick picks up.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use testkit::{Account, TestApp, in_this_process};

async fn key(app: &TestApp, account: &Account) -> String {
    account
        .agentplatform_key(
            app,
            &["agents:read", "agents:write", "runs:read", "signals:write"],
        )
        .await
}

async fn runs(app: &TestApp, key: &str, agent: &str) -> Vec<Value> {
    let listed = app
        .get(&format!("/api/v1/agents/{agent}/runs"))
        .bearer(key)
        .send()
        .await
        .expect(200);
    listed["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_schedule_fires_once_for_each_of_its_times_and_once_after_an_outage() {
    let app = TestApp::with(|options| local::Options {
        schedules: false,
        ..in_this_process(options)
    })
    .await;
    let account = app.register().await;
    let key = key(&app, &account).await;
    let body = json!({"name": "Hourly", "type": "freeform", "config": {"instructions": "x"}, "schedule": "0 * * * *"});
    let agent = app
        .post("/api/v1/agents", body)
        .bearer(&key)
        .send()
        .await
        .expect(201)["data"]
        .clone();
    let id = agent["id"].as_str().unwrap();
    app.tick().await;
    assert!(runs(&app, &key, id).await.is_empty(), "before its time");

    app.clock.advance(TimeDelta::minutes(61));
    tokio::join!(app.tick(), app.tick());
    app.work_is_done().await;
    app.tick().await;
    let fired = runs(&app, &key, id).await;
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0]["trigger"], "schedule");

    app.clock.advance(TimeDelta::hours(5));
    app.tick().await;
    app.work_is_done().await;
    assert_eq!(
        runs(&app, &key, id).await.len(),
        2,
        "an outage is made up for once"
    );

    app.post(&format!("/api/v1/agents/{id}/pause"), json!({}))
        .bearer(&key)
        .send()
        .await
        .expect(200);
    app.clock.advance(TimeDelta::hours(2));
    app.tick().await;
    assert_eq!(runs(&app, &key, id).await.len(), 2, "not while paused");
    app.post(&format!("/api/v1/agents/{id}/resume"), json!({}))
        .bearer(&key)
        .send()
        .await
        .expect(200);
    app.clock.advance(TimeDelta::minutes(61));
    app.tick().await;
    assert_eq!(runs(&app, &key, id).await.len(), 3);
}

#[tokio::test]
async fn a_schedule_of_every_minute_loses_no_firing_to_a_late_tick() {
    let app = TestApp::with(|options| local::Options {
        schedules: false,
        event_sources: false,
        ..in_this_process(options)
    })
    .await;
    let account = app.register().await;
    let key = key(&app, &account).await;
    let body = json!({"name": "Minutely", "type": "freeform", "config": {"instructions": "x"}, "schedule": "* * * * *"});
    let agent = app.post("/api/v1/agents", body).bearer(&key);
    let agent = agent.send().await.expect(201)["data"].clone();
    let id = agent["id"].as_str().unwrap();
    let mut firing: DateTime<Utc> = agent["next_run_at"].as_str().unwrap().parse().unwrap();
    for apart in [60, 118, 62, 119, 61, 179] {
        app.clock.advance(TimeDelta::seconds(apart));
        tokio::join!(app.tick(), app.tick());
    }
    let fired = runs(&app, &key, id).await;
    let mut times: Vec<DateTime<Utc>> = fired
        .iter()
        .map(|run| run["created_at"].as_str().unwrap().parse().unwrap())
        .collect();
    times.sort();
    while firing <= app.clock.now() {
        let found = times.iter().position(|time| *time == firing);
        times.remove(found.unwrap_or_else(|| panic!("{firing} is lost: {times:?}")));
        firing += TimeDelta::minutes(1);
    }
    assert!(times.is_empty(), "too many: {times:?}");

    // What is older than five minutes becomes one run.
    app.clock.advance(TimeDelta::hours(2));
    app.tick().await;
    assert_eq!(runs(&app, &key, id).await.len(), fired.len() + 1);
}

#[tokio::test]
async fn a_run_whose_message_was_lost_is_picked_up_by_the_tick() {
    // Without event sources, messages go nowhere.
    let app = TestApp::with(|options| local::Options {
        schedules: false,
        event_sources: false,
        ..in_this_process(options)
    })
    .await;
    let account = app.register().await;
    let key = key(&app, &account).await;
    let agent = app.agent(&key, "x").await;
    app.post(
        &format!("/api/v1/agents/{agent}/signals"),
        json!({"type": "x"}),
    )
    .bearer(&key)
    .send()
    .await
    .expect(202);
    assert_eq!(runs(&app, &key, &agent).await[0]["status"], "queued");
    app.clock.advance(TimeDelta::minutes(2));
    let told = app.tick().await;
    assert_eq!(told["runs"], 1, "{told}");
}
