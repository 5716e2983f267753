//! Agents that run by the clock, and what the tick picks up.

use chrono::TimeDelta;
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
    let app = TestApp::with(|options| signalbox::Options {
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
    app.tick().await;
    let fired = runs(&app, &key, id).await;
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0]["trigger"], "schedule");

    app.clock.advance(TimeDelta::hours(5));
    app.tick().await;
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
async fn a_run_whose_message_was_lost_is_picked_up_by_the_tick() {
    // Without event sources, messages go nowhere.
    let app = TestApp::with(|options| signalbox::Options {
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
