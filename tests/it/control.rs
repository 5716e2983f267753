//! `/api/workflow/{id}/status`, `stop`, `pause` and `continue`: executions under way.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Fixture, TestResponse, eventually};

const FOUR: [(Method, &str); 4] = [
    (Method::GET, "status"),
    (Method::POST, "stop"),
    (Method::POST, "pause"),
    (Method::POST, "continue"),
];

/// Starts an agent that POSTs to these paths, one after the other; the execution's id.
async fn poster(fixture: &Fixture, paths: &[&str]) -> String {
    let agent = fixture.agent(fixture.requests("POST", paths)).await;
    fixture.start_run(&agent, json!({})).await
}

async fn call(fixture: &Fixture, execution: &str, method: Method, what: &str) -> TestResponse {
    let path = format!("/api/workflow/{execution}/{what}");
    let request = fixture.app.request(method, &path).bearer(&fixture.token);
    request.send().await
}

async fn post(fixture: &Fixture, execution: &str, what: &str) -> Value {
    let answer = call(fixture, execution, Method::POST, what).await;
    answer.expect(200)["data"].clone()
}

async fn status(fixture: &Fixture, execution: &str) -> Value {
    fixture
        .data(&format!("/api/workflow/{execution}/status"))
        .await
}

async fn refused(fixture: &Fixture, execution: &str, what: &str) {
    let answer = call(fixture, execution, Method::POST, what).await;
    assert_eq!(answer.expect(400)["error"], "InvalidState", "{what}");
}

/// The paths that the target was asked for, in order.
fn paths(fixture: &Fixture) -> Vec<String> {
    let hits = fixture.target.hits().into_iter();
    hits.map(|hit| hit.path).collect()
}

async fn requests(fixture: &Fixture, count: usize) {
    let requested = async || fixture.target.hits().len() >= count;
    eventually("so many requests", requested).await;
}

/// Waits for the status of the one agent.
async fn until_agent(fixture: &Fixture, status: &str) {
    let is_so = async || fixture.data("/api/v1/agents").await[0]["status"] == status;
    eventually(status, is_so).await;
}

async fn until(fixture: &Fixture, execution: &str, wanted: &str) {
    let is_so = async || status(fixture, execution).await["status"] == wanted;
    eventually(wanted, is_so).await;
}

#[tokio::test]
async fn a_paused_execution_lets_its_call_return_and_goes_on_from_there() {
    let fixture = Fixture::start().await;
    let execution = poster(&fixture, &["/slow", "/next"]).await;
    requests(&fixture, 1).await;
    assert_eq!(status(&fixture, &execution).await["status"], "running");
    refused(&fixture, &execution, "continue").await;

    let paused = post(&fixture, &execution, "pause").await;
    assert_eq!(paused["execution_id"], execution.as_str());
    assert_eq!(
        (&paused["status"], &paused["finished_at"]),
        (&json!("paused"), &json!(null))
    );
    assert_eq!(paused["pause_requested"], false);
    refused(&fixture, &execution, "pause").await;
    let run = fixture.app.get(&format!("/api/v1/runs/{execution}"));
    let run = run.bearer(&fixture.key).send().await.expect(200);
    assert_eq!(
        run["data"]["status"], "running",
        "AgentPlatform has no pauses"
    );
    assert_eq!(fixture.target.hits().len(), 1);

    let continued = post(&fixture, &execution, "continue").await;
    assert_eq!(continued["status"], "running");
    until(&fixture, &execution, "completed").await;
    assert_eq!(paths(&fixture), ["/slow", "/next"], "each request once");
    for what in ["stop", "pause", "continue"] {
        refused(&fixture, &execution, what).await;
    }
}

#[tokio::test]
async fn a_pause_that_has_not_begun_can_be_taken_back() {
    let fixture = Fixture::start().await;
    let execution = poster(&fixture, &["/after/3000", "/next"]).await;
    requests(&fixture, 1).await;
    let take_back = async {
        let requested = async || status(&fixture, &execution).await["pause_requested"] != false;
        eventually("a requested pause", requested).await;
        post(&fixture, &execution, "continue").await
    };
    let (paused, continued) = tokio::join!(post(&fixture, &execution, "pause"), take_back);
    for state in [&paused, &continued] {
        assert_eq!(state["status"], "running", "{state}");
        assert_eq!(state["pause_requested"], false, "{state}");
    }
    assert_eq!(
        fixture.target.hits().len(),
        1,
        "the call is still under way"
    );
    refused(&fixture, &execution, "continue").await;
    until(&fixture, &execution, "completed").await;
    assert_eq!(
        paths(&fixture),
        ["/after/3000", "/next"],
        "each request once"
    );

    // Another pause after that is a pause.
    let execution = poster(&fixture, &["/after/2000", "/last"]).await;
    requests(&fixture, 3).await;
    let changing = async {
        let requested = async || status(&fixture, &execution).await["pause_requested"] != false;
        eventually("a requested pause", requested).await;
        post(&fixture, &execution, "continue").await;
        post(&fixture, &execution, "pause").await
    };
    let (_, paused) = tokio::join!(post(&fixture, &execution, "pause"), changing);
    assert_eq!(paused["status"], "paused", "{paused}");
    assert_eq!(fixture.target.hits().len(), 3);
}

#[tokio::test]
async fn a_stopped_execution_makes_no_further_call_and_says_what_is_in_doubt() {
    let mut fixture = Fixture::start().await;
    // The call that is under way.
    fixture.app.leave_work();
    let execution = poster(&fixture, &["/slow", "/next"]).await;
    requests(&fixture, 1).await;
    let stopped = post(&fixture, &execution, "stop").await;
    assert_eq!(stopped["status"], "stopped");
    let error = stopped["error"].as_str().unwrap();
    assert!(
        error.contains("http_request, which may or may not"),
        "{error}"
    );
    assert_eq!(
        post(&fixture, &execution, "stop").await,
        stopped,
        "once is enough"
    );
    for what in ["pause", "continue"] {
        refused(&fixture, &execution, what).await;
    }
    let run = fixture.app.get(&format!("/api/v1/runs/{execution}"));
    let run = run.bearer(&fixture.key).send().await.expect(200);
    assert_eq!(run["data"]["status"], "cancelled");

    let after = poster(&fixture, &["/after"]).await;
    until(&fixture, &after, "completed").await;
    assert_eq!(paths(&fixture), ["/slow", "/after"]);
}

#[tokio::test]
async fn an_agent_is_running_while_a_run_of_it_lasts_and_idle_at_its_end() {
    let fixture = Fixture::start().await;
    let execution = poster(&fixture, &["/after/900"]).await;
    until_agent(&fixture, "running").await;
    assert_eq!(status(&fixture, &execution).await["status"], "running");
    until(&fixture, &execution, "completed").await;
    until_agent(&fixture, "idle").await;
}

#[tokio::test]
async fn an_agent_whose_run_was_stopped_is_idle_once_the_worker_has_noticed() {
    let fixture = Fixture::start().await;
    let execution = poster(&fixture, &["/after/900"]).await;
    requests(&fixture, 1).await;
    // The worker enters the run in its agent's status after this.
    post(&fixture, &execution, "stop").await;
    fixture.app.work_is_done().await;
    assert_eq!(fixture.data("/api/v1/agents").await[0]["status"], "idle");
}

#[tokio::test]
async fn a_paused_execution_can_be_stopped() {
    let fixture = Fixture::start().await;
    let execution = poster(&fixture, &["/slow", "/next"]).await;
    requests(&fixture, 1).await;
    post(&fixture, &execution, "pause").await;
    until(&fixture, &execution, "paused").await;
    until_agent(&fixture, "running").await;
    let stopped = post(&fixture, &execution, "stop").await;
    // What the worker had entered went with the pause.
    until_agent(&fixture, "idle").await;
    assert_eq!(
        (&stopped["status"], &stopped["error"]),
        (&json!("stopped"), &json!(null))
    );
    refused(&fixture, &execution, "continue").await;
    assert_eq!(fixture.target.hits().len(), 1);
}

#[tokio::test]
async fn nobody_elses_execution_can_be_seen_or_touched() {
    let fixture = Fixture::start().await;
    let execution = poster(&fixture, &["/slow"]).await;
    let other = fixture
        .app
        .register()
        .await
        .prodgy_token(&fixture.app)
        .await;
    for (method, what) in FOUR {
        let path = format!("/api/workflow/{execution}/{what}");
        let request = fixture.app.request(method.clone(), &path);
        assert_eq!(request.bearer(&other).send().await.status, 404, "{what}");
        let unknown = call(
            &fixture,
            "0190f5a0-b1c2-7d3e-8f4a-5b6c7d8e9f00",
            method,
            what,
        );
        assert_eq!(unknown.await.status, 404, "{what}");
    }
    until(&fixture, &execution, "completed").await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_ended() {
    let fixture = Fixture::start().await;
    let host = fixture.target.url().trim_start_matches("http://");
    let directive = format!(
        "@http_request {{\"url\": \"{}/slow\"}}",
        fixture.target.url()
    );
    let config = json!({"instructions": directive, "tools": ["http_request"], "allowed_hosts": [host], "max_seconds": 1});
    let body = json!({"name": "Slow", "type": "freeform", "config": config});
    let agent = fixture
        .app
        .post("/api/v1/agents", body)
        .bearer(&fixture.key);
    let agent = agent.send().await.expect(201)["data"]["id"].clone();
    let path = format!("/api/agent-base/{}/executions", agent.as_str().unwrap());
    let done = fixture
        .app
        .post(&path, json!({"wait": true}))
        .bearer(&fixture.token);
    let done = done.send().await.expect(200)["data"].clone();
    assert_eq!(done["status"], "failed");
    assert_eq!(done["error"], "time limit of 1 s reached");
}
