//! `/api/v1/agents/{id}/signals`: events that make an agent run. And the samples of the published document, word for word.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::OpenMeteo;
use testkit::{Account, TestApp, eventually_some};

const SCOPES: &[&str] = &["agents:read", "agents:write", "runs:read", "signals:write"];

/// The run, once it has ended.
async fn ended(app: &TestApp, key: &str, run: &str) -> Value {
    let path = format!("/api/v1/runs/{run}");
    eventually_some("the run ends", async || {
        let shown = app.get(&path).bearer(key).send().await.expect(200)["data"].clone();
        let status = shown["status"].as_str().unwrap();
        (!["queued", "running"].contains(&status)).then_some(shown)
    })
    .await
}

#[tokio::test]
async fn the_published_samples_work_as_they_stand() {
    let weather = OpenMeteo::start().await;
    let url = weather.url().to_owned();
    let app = TestApp::with(|options| {
        options
            .parameter("OpenMeteoGeocodingUrl", &url)
            .parameter("OpenMeteoForecastUrl", &url)
    })
    .await;
    let account: Account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;

    // curl -X POST -H "Authorization: Bearer ..." -H "Content-Type: application/json" -d '...' https://your-domain.com/api/v1/agents
    let sample =
        r#"{"name": "NYC Weather", "type": "weather_check", "config": {"location": "New York"}}"#;
    let created = app
        .request(Method::POST, "/api/v1/agents")
        .raw(sample)
        .bearer(&key)
        .send()
        .await;
    assert!(
        !created.header("x-ratelimit-limit").is_empty()
            && !created.header("x-ratelimit-remaining").is_empty()
    );
    assert!(created.header("x-ratelimit-reset").parse::<i64>().unwrap() > 1_700_000_000);
    let agent = created.expect(201)["data"]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    let listed = app.get("/api/v1/agents").bearer(&key).send().await;
    assert!(listed.text.starts_with("{\"data\":["), "{}", listed.text);
    let listed = listed.expect(200);
    assert_eq!(
        (&listed["data"][0]["type"], &listed["data"][0]["status"]),
        (&json!("weather_check"), &json!("idle"))
    );

    let sample = r#"{"type": "custom_event", "payload": {"key": "value"}}"#;
    let accepted = app
        .request(Method::POST, &format!("/api/v1/agents/{agent}/signals"))
        .raw(sample)
        .bearer(&key)
        .send()
        .await;
    let accepted = accepted.expect(202)["data"].clone();
    assert_eq!(
        (&accepted["status"], &accepted["type"]),
        (&json!("accepted"), &json!("custom_event"))
    );

    let run = ended(&app, &key, accepted["run_id"].as_str().unwrap()).await;
    assert_eq!(
        (&run["status"], &run["trigger"]),
        (&json!("completed"), &json!("signal"))
    );
    assert_eq!(
        run["signal"],
        json!({"type": "custom_event", "payload": {"key": "value"}})
    );
    let runs = app
        .get(&format!("/api/v1/agents/{agent}/runs"))
        .bearer(&key)
        .send()
        .await
        .expect(200);
    assert_eq!(runs["data"][0]["id"], run["id"]);
}

#[tokio::test]
async fn a_signal_sent_again_with_its_key_starts_one_run() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    let agent = app.agent(&key, "x").await;
    let path = format!("/api/v1/agents/{agent}/signals");
    let send = |payload: Value| {
        app.post(&path, json!({"type": "x", "payload": payload}))
            .bearer(&key)
            .header("idempotency-key", "e-1")
            .send()
    };
    let first = send(json!({"n": 1})).await.expect(202);
    assert_eq!(send(json!({"n": 1})).await.expect(202), first);
    send(json!({"n": 2})).await.expect_refused(422);
    let runs = app
        .get(&format!("/api/v1/agents/{agent}/runs"))
        .bearer(&key)
        .send()
        .await
        .expect(200);
    assert_eq!(runs["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_paused_agent_and_a_wrong_signal_are_refused() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    let agent = app.agent(&key, "x").await;
    let path = format!("/api/v1/agents/{agent}/signals");
    for body in [
        json!({}),
        json!({"type": ""}),
        json!({"type": "x".repeat(101)}),
        json!({"type": 7}),
    ] {
        let answer = app.post(&path, body.clone()).bearer(&key).send().await;
        answer.expect_refused(422);
        assert!(
            answer.body["errors"]["type"].is_array(),
            "{body}: {}",
            answer.text
        );
    }
    app.request(Method::POST, &format!("/api/v1/agents/{agent}/pause"))
        .bearer(&key)
        .send()
        .await
        .expect(200);
    app.post(&path, json!({"type": "x"}))
        .bearer(&key)
        .send()
        .await
        .expect_refused(422);
    let without = account.agentplatform_key(&app, &["agents:read"]).await;
    app.post(&path, json!({"type": "x"}))
        .bearer(&without)
        .send()
        .await
        .expect_refused(403);
}

#[tokio::test]
async fn a_hundred_signals_at_once_make_a_hundred_finished_runs() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    let agent = app.agent(&key, "Summarise.").await;
    let path = format!("/api/v1/agents/{agent}/signals");
    let sent = (0..100).map(|number| {
        let request = app.post(&path, json!({"type": "burst", "payload": {"text": format!("Event number {number} happened.")}})).bearer(&key);
        async { request.send().await.expect(202)["data"]["run_id"].as_str().unwrap().to_owned() }
    });
    let runs = futures::future::join_all(sent).await;
    for run in &runs {
        assert_eq!(ended(&app, &key, run).await["status"], "completed");
    }
}
