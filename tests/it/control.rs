//! `/api/workflow/{id}/status`, `stop`, `pause` and `continue`: executions under way.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::Target;
use testkit::{TestApp, TestResponse, eventually};

const FOUR: [(Method, &str); 4] = [
    (Method::GET, "status"),
    (Method::POST, "stop"),
    (Method::POST, "pause"),
    (Method::POST, "continue"),
];

struct Desk {
    app: TestApp,
    target: Target,
    token: String,
    key: String,
}

impl Desk {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let account = app.register().await;
        Self {
            target: Target::start().await,
            token: account.prodgy_token(&app).await,
            key: account
                .agentplatform_key(&app, &["agents:read", "agents:write", "runs:read"])
                .await,
            app,
        }
    }

    /// Starts an agent that POSTs to these paths, one after the other; the execution's id.
    async fn poster(&self, paths: &[&str]) -> String {
        let directive = |path: &&str| {
            let url = format!("{}{path}", self.target.url());
            format!("@http_request {}", json!({"method": "POST", "url": url}))
        };
        let directives: Vec<_> = paths.iter().map(directive).collect();
        let host = self.target.url().trim_start_matches("http://");
        let config = json!({"instructions": directives.join("\n"), "tools": ["http_request"], "allowed_hosts": [host]});
        let body = json!({"name": "Poster", "type": "freeform", "config": config});
        let agent = self.app.post("/api/v1/agents", body).bearer(&self.key);
        let agent = agent.send().await.expect(201)["data"]["id"].clone();
        let path = format!("/api/agent-base/{}/executions", agent.as_str().unwrap());
        let started = self.app.post(&path, json!({})).bearer(&self.token);
        let started = started.send().await.expect(202);
        started["data"]["execution_id"].as_str().unwrap().to_owned()
    }

    async fn call(&self, execution: &str, method: Method, what: &str) -> TestResponse {
        let path = format!("/api/workflow/{execution}/{what}");
        let request = self.app.request(method, &path).bearer(&self.token);
        request.send().await
    }

    async fn post(&self, execution: &str, what: &str) -> Value {
        let answer = self.call(execution, Method::POST, what).await;
        answer.expect(200)["data"].clone()
    }

    async fn status(&self, execution: &str) -> Value {
        let answer = self.call(execution, Method::GET, "status").await;
        answer.expect(200)["data"].clone()
    }

    async fn refused(&self, execution: &str, what: &str) {
        let answer = self.call(execution, Method::POST, what).await;
        assert_eq!(answer.expect(400)["error"], "InvalidState", "{what}");
    }

    async fn requests(&self, count: usize) {
        let requested = async || self.target.hits().len() >= count;
        eventually("so many requests", requested).await;
    }

    /// Waits for the status of the one agent.
    async fn until_agent(&self, status: &str) {
        let is_so = async || {
            let agents = self.app.get("/api/v1/agents").bearer(&self.key);
            agents.send().await.expect(200)["data"][0]["status"] == status
        };
        eventually(status, is_so).await;
    }

    async fn until(&self, execution: &str, status: &str) {
        let is_so = async || self.status(execution).await["status"] == status;
        eventually(status, is_so).await;
    }
}

#[tokio::test]
async fn a_paused_execution_lets_its_call_return_and_goes_on_from_there() {
    let desk = Desk::start().await;
    let execution = desk.poster(&["/slow", "/next"]).await;
    desk.requests(1).await;
    assert_eq!(desk.status(&execution).await["status"], "running");
    desk.refused(&execution, "continue").await;

    let paused = desk.post(&execution, "pause").await;
    assert_eq!(paused["execution_id"], execution.as_str());
    assert_eq!(
        (&paused["status"], &paused["finished_at"]),
        (&json!("paused"), &json!(null))
    );
    assert_eq!(paused["pause_requested"], false);
    desk.refused(&execution, "pause").await;
    let run = desk.app.get(&format!("/api/v1/runs/{execution}"));
    let run = run.bearer(&desk.key).send().await.expect(200);
    assert_eq!(
        run["data"]["status"], "running",
        "AgentPlatform has no pauses"
    );
    assert_eq!(desk.target.hits().len(), 1);

    let continued = desk.post(&execution, "continue").await;
    assert_eq!(continued["status"], "running");
    desk.until(&execution, "completed").await;
    let paths: Vec<_> = desk.target.hits().into_iter().map(|hit| hit.path).collect();
    assert_eq!(paths, ["/slow", "/next"], "each request once");
    for what in ["stop", "pause", "continue"] {
        desk.refused(&execution, what).await;
    }
}

#[tokio::test]
async fn a_pause_that_has_not_begun_can_be_taken_back() {
    let desk = Desk::start().await;
    let execution = desk.poster(&["/after/3000", "/next"]).await;
    desk.requests(1).await;
    let take_back = async {
        let requested = async || desk.status(&execution).await["pause_requested"] != false;
        eventually("a requested pause", requested).await;
        desk.post(&execution, "continue").await
    };
    let (paused, continued) = tokio::join!(desk.post(&execution, "pause"), take_back);
    for state in [&paused, &continued] {
        assert_eq!(state["status"], "running", "{state}");
        assert_eq!(state["pause_requested"], false, "{state}");
    }
    assert_eq!(desk.target.hits().len(), 1, "the call is still under way");
    desk.refused(&execution, "continue").await;
    desk.until(&execution, "completed").await;
    let paths: Vec<_> = desk.target.hits().into_iter().map(|hit| hit.path).collect();
    assert_eq!(paths, ["/after/3000", "/next"], "each request once");

    // Another pause after that is a pause.
    let execution = desk.poster(&["/after/2000", "/last"]).await;
    desk.requests(3).await;
    let changing = async {
        let requested = async || desk.status(&execution).await["pause_requested"] != false;
        eventually("a requested pause", requested).await;
        desk.post(&execution, "continue").await;
        desk.post(&execution, "pause").await
    };
    let (_, paused) = tokio::join!(desk.post(&execution, "pause"), changing);
    assert_eq!(paused["status"], "paused", "{paused}");
    assert_eq!(desk.target.hits().len(), 3);
}

#[tokio::test]
async fn a_stopped_execution_makes_no_further_call_and_says_what_is_in_doubt() {
    let desk = Desk::start().await;
    let execution = desk.poster(&["/slow", "/next"]).await;
    desk.requests(1).await;
    let stopped = desk.post(&execution, "stop").await;
    assert_eq!(stopped["status"], "stopped");
    let error = stopped["error"].as_str().unwrap();
    assert!(
        error.contains("http_request, which may or may not"),
        "{error}"
    );
    assert_eq!(
        desk.post(&execution, "stop").await,
        stopped,
        "once is enough"
    );
    for what in ["pause", "continue"] {
        desk.refused(&execution, what).await;
    }
    let run = desk.app.get(&format!("/api/v1/runs/{execution}"));
    let run = run.bearer(&desk.key).send().await.expect(200);
    assert_eq!(run["data"]["status"], "cancelled");

    let after = desk.poster(&["/after"]).await;
    desk.until(&after, "completed").await;
    let paths: Vec<_> = desk.target.hits().into_iter().map(|hit| hit.path).collect();
    assert_eq!(paths, ["/slow", "/after"]);
}

#[tokio::test]
async fn a_paused_execution_can_be_stopped() {
    let desk = Desk::start().await;
    let execution = desk.poster(&["/slow", "/next"]).await;
    desk.requests(1).await;
    desk.post(&execution, "pause").await;
    desk.until(&execution, "paused").await;
    desk.until_agent("running").await;
    let stopped = desk.post(&execution, "stop").await;
    // What the worker entered when it took the run went with the pause.
    desk.until_agent("idle").await;
    assert_eq!(
        (&stopped["status"], &stopped["error"]),
        (&json!("stopped"), &json!(null))
    );
    desk.refused(&execution, "continue").await;
    assert_eq!(desk.target.hits().len(), 1);
}

#[tokio::test]
async fn nobody_elses_execution_can_be_seen_or_touched() {
    let desk = Desk::start().await;
    let execution = desk.poster(&["/slow"]).await;
    let other = desk.app.register().await.prodgy_token(&desk.app).await;
    for (method, what) in FOUR {
        let path = format!("/api/workflow/{execution}/{what}");
        let request = desk.app.request(method.clone(), &path);
        assert_eq!(request.bearer(&other).send().await.status, 404, "{what}");
        let unknown = desk.call("0190f5a0-b1c2-7d3e-8f4a-5b6c7d8e9f00", method, what);
        assert_eq!(unknown.await.status, 404, "{what}");
    }
    desk.until(&execution, "completed").await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_ended() {
    let desk = Desk::start().await;
    let host = desk.target.url().trim_start_matches("http://");
    let directive = format!("@http_request {{\"url\": \"{}/slow\"}}", desk.target.url());
    let config = json!({"instructions": directive, "tools": ["http_request"], "allowed_hosts": [host], "max_seconds": 1});
    let body = json!({"name": "Slow", "type": "freeform", "config": config});
    let agent = desk.app.post("/api/v1/agents", body).bearer(&desk.key);
    let agent = agent.send().await.expect(201)["data"]["id"].clone();
    let path = format!("/api/agent-base/{}/executions", agent.as_str().unwrap());
    let done = desk
        .app
        .post(&path, json!({"wait": true}))
        .bearer(&desk.token);
    let done = done.send().await.expect(200)["data"].clone();
    assert_eq!(done["status"], "failed");
    assert_eq!(done["error"], "time limit of 1 s reached");
}
