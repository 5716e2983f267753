//! Values of runs that no item of a table has room for: they come back whole, or the client is told that they are too large.

use std::path::Path;
use std::time::{Duration, Instant};

use local::{Data, Options};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::{ModelApi, Target, Turn, large};
use testkit::{S3Recorder, TestApp};

struct Desk {
    app: TestApp,
    api: ModelApi,
    objects: S3Recorder,
    token: String,
    key: String,
}

impl Desk {
    async fn start() -> Self {
        Self::on(|options| options).await
    }

    async fn on(change: impl FnOnce(Options) -> Options) -> Self {
        let (api, objects) = (ModelApi::start().await, S3Recorder::default());
        let proxy = objects.proxy();
        let app = TestApp::with(|options| {
            change(Options {
                s3_proxy: Some(proxy),
                ..options
            })
        })
        .await;
        let account = app.register().await;
        let token = account.prodgy_token(&app).await;
        let scopes = [
            "agents:read",
            "agents:write",
            "runs:read",
            "signals:write",
            "credentials:write",
        ];
        let key = account.agentplatform_key(&app, &scopes).await;
        let body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789", "base_url": api.url()});
        let post = app.post("/api/v1/credentials", body).bearer(&key);
        post.send().await.expect(201);
        Self {
            app,
            api,
            objects,
            token,
            key,
        }
    }

    /// An agent that asks the provider.
    async fn agent(&self, tools: Value) -> String {
        let mut config = json!({"instructions": "x", "model": "openai/gpt-5"});
        for (name, value) in tools.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        let body = json!({"name": "A", "type": "freeform", "config": config});
        let post = self.app.post("/api/v1/agents", body).bearer(&self.key);
        text(&post.send().await.expect(201)["data"]["id"])
    }

    async fn execute(&self, agent: &str, input: Value) -> Value {
        let path = format!("/api/agent-base/{agent}/executions");
        let post = self.app.post(&path, json!({"input": input, "wait": true}));
        post.bearer(&self.token).send().await.expect(200)["data"].clone()
    }

    async fn get(&self, path: &str) -> Value {
        let dialect = if path.starts_with("/api/v1/") {
            &self.key
        } else {
            &self.token
        };
        let get = self.app.get(path).bearer(dialect);
        get.send().await.expect(200)
    }

    async fn ended(&self, run: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let shown = self.get(&format!("/api/v1/runs/{run}")).await["data"].clone();
            if shown["status"] == "completed" || shown["status"] == "failed" {
                return shown;
            }
            assert!(Instant::now() < until, "stuck: {}", shown["status"]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// So much text, none of it like the rest.
fn prose(length: usize) -> String {
    let mut text = String::with_capacity(length + 20);
    for line in 0.. {
        if text.len() >= length {
            break;
        }
        text += &format!("Line {line} of it all.\n");
    }
    text.truncate(length);
    text
}

fn kept_in(directory: &Path) -> impl FnOnce(Options) -> Options {
    let directory = directory.to_owned();
    |options| Options {
        data: Data::Directory(directory),
        ..options
    }
}

#[tokio::test]
async fn a_large_input_reaches_the_agent_and_comes_back_whole() {
    let desk = Desk::start().await;
    let agent = desk.agent(json!({})).await;
    let input = json!({"text": prose(1536 * 1024)});

    let done = desk.execute(&agent, input.clone()).await;
    assert!(done["input"] == input, "the answer to the start");
    let asked = desk.api.take_hits();
    let asked: Value = serde_json::from_str(&asked[0].body).unwrap();
    let told = text(&asked["messages"][1]["content"]);
    assert!(serde_json::from_str::<Value>(&told).unwrap() == input);

    let run = text(&done["id"]);
    let executions = format!("/api/agent-base/{agent}/executions");
    let shown = desk.get(&format!("{executions}/{run}")).await;
    assert!(shown["data"]["input"] == input);
    let listed = desk.get(&executions).await;
    assert_eq!(listed["data"][0]["input"], Value::Null);

    let body = json!({"type": "report.filed", "payload": input});
    let path = format!("/api/v1/agents/{agent}/signals");
    let sent = desk.app.post(&path, body).bearer(&desk.key).send().await;
    let run = desk.ended(&text(&sent.expect(202)["data"]["run_id"])).await;
    assert!(run["input"] == input && run["signal"]["payload"] == input);

    let other = desk.app.register().await;
    let other = other.agentplatform_key(&desk.app, &["runs:read"]).await;
    let path = format!("/api/v1/runs/{}", text(&run["id"]));
    let denied = desk.app.get(&path).bearer(&other).send().await;
    denied.expect_refused(404);
}

#[tokio::test]
async fn large_outputs_and_messages_come_back_whole_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut desk = Desk::on(kept_in(directory.path())).await;
    let agent = desk.agent(json!({})).await;
    let mut runs = Vec::new();
    for length in [150_000, 600_000] {
        let said = prose(length);
        desk.api.play([Turn::Text(said.clone())]);
        let done = desk.execute(&agent, json!({"n": length})).await;
        assert!(done["output"]["text"] == said.as_str(), "{length}");
        runs.push((text(&done["id"]), said));
    }
    for restarted in [false, true] {
        if restarted {
            desk.app.platform.stop().await;
            desk.app = TestApp::with(kept_in(directory.path())).await;
        }
        for (run, said) in &runs {
            let path = format!("/api/agent-base/{agent}/executions/{run}");
            let shown = desk.get(&path).await;
            assert!(shown["data"]["output"]["text"] == said.as_str());
            let path = format!("/api/v1/runs/{run}");
            let shown = desk.get(&path).await;
            assert!(shown["data"]["output"]["text"] == said.as_str());
            let messages = desk.get(&format!("{path}/messages")).await;
            assert!(messages["data"][0]["content"] == said.as_str());
        }
        let messages = desk.get(&format!("/api/v1/agents/{agent}/messages")).await;
        assert!(messages["data"][0]["content"] == runs[1].1.as_str());
        assert!(messages["data"][1]["content"] == runs[0].1.as_str());
    }
}

#[tokio::test]
async fn a_run_goes_on_from_a_large_tool_result_in_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut desk = Desk::on(kept_in(directory.path())).await;
    let target = Target::start().await;
    let host = target.url().trim_start_matches("http://");
    let tools = json!({"tools": ["http_request"], "allowed_hosts": [host]});
    let agent = desk.agent(tools).await;
    let url = format!("{}/large", target.url());
    let call = ("http_request", json!({"method": "GET", "url": url}));
    desk.api.play([
        Turn::Calls(vec![call]),
        Turn::Slow(Duration::from_secs(600)),
    ]);
    let path = format!("/api/agent-base/{agent}/executions");
    let started = desk.app.post(&path, json!({})).bearer(&desk.token);
    let run = text(&started.send().await.expect(202)["data"]["execution_id"]);
    let until = Instant::now() + Duration::from_secs(60);
    let mut asked = Vec::new();
    while asked.len() < 2 {
        asked.extend(desk.api.take_hits());
        assert!(Instant::now() < until, "the model is not asked again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    drop(desk.app);
    desk.app = TestApp::with(kept_in(directory.path())).await;
    let ended = desk.ended(&run).await;
    assert_eq!(ended["output"]["text"], "Done.");
    assert_eq!(target.hits().len(), 1, "the call is not made again");
    let again = desk.api.take_hits();
    let again: Value = serde_json::from_str(&again[0].body).unwrap();
    let before: Value = serde_json::from_str(&asked[1].body).unwrap();
    assert!(again["messages"] == before["messages"]);
    let told = again["messages"][3]["content"].to_string();
    assert!(told.len() > large().len());
}

#[tokio::test]
async fn a_page_of_large_messages_ends_before_it_outgrows_a_response() {
    let desk = Desk::start().await;
    let agent = desk.agent(json!({})).await;
    let said = prose(900_000);
    for _ in 0..6 {
        desk.api.play([Turn::Text(said.clone())]);
        desk.execute(&agent, json!({})).await;
    }
    let path = format!("/api/v1/agents/{agent}/messages?limit=200");
    let (mut seen, mut query) = (0, String::new());
    loop {
        let page = desk.get(&format!("{path}{query}")).await;
        assert!(page.to_string().len() < 5_000_000);
        let messages = page["data"].as_array().unwrap();
        assert!(messages.iter().all(|it| it["content"] == said.as_str()));
        seen += messages.len();
        let Some(cursor) = page["meta"]["next_cursor"].as_str() else {
            break;
        };
        assert!(messages.len() < 6);
        query = format!("&cursor={cursor}");
    }
    assert_eq!(seen, 6);
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_name_and_changes_nothing() {
    let desk = Desk::start().await;
    let agent = desk.agent(json!({})).await;
    let executions = format!("/api/agent-base/{agent}/executions");
    let signals = format!("/api/v1/agents/{agent}/signals");
    let signal = |payload: Value| json!({"type": "x", "payload": payload});
    // Quotes take up twice their room on their way.
    for large in [
        json!({"a": prose(2_000_000)}),
        json!({"a": "\"".repeat(600_000)}),
    ] {
        let body = json!({"input": large});
        let told = desk.app.post(&executions, body).bearer(&desk.token);
        let told = told.send().await.expect_refused(400);
        assert!(told.contains("input") && told.contains("2000000"), "{told}");
        let told = desk.app.post(&signals, signal(large)).bearer(&desk.key);
        let told = told.send().await.expect_refused(422);
        assert!(told.contains("payload"), "{told}");
    }
    let body = json!({"input": {"a": "x".repeat(4 * 1024 * 1024)}});
    let told = desk.app.post(&executions, body).bearer(&desk.token);
    let told = told.send().await.expect_refused(400);
    assert!(told.contains("larger than 4194304 bytes"), "{told}");
    // Other routes take what they took.
    let body = json!({"name": "x".repeat(600 * 1024)});
    let agents = desk.app.request(Method::POST, "/api/v1/agents").json(body);
    agents.bearer(&desk.key).send().await.expect_refused(413);

    assert_eq!(desk.get(&executions).await["data"], json!([]));
    assert_eq!(desk.objects.take(), []);

    // An answer that no run can keep ends the run in so many words.
    desk.api.play([Turn::Text("\"".repeat(510_000))]);
    let done = desk.execute(&agent, json!({})).await;
    assert_eq!(done["status"], "failed", "{}", done["error"]);
    assert!(text(&done["error"]).contains("larger than 2000000 bytes"));
}

#[tokio::test]
async fn an_object_that_is_not_what_was_written_is_no_value() {
    let desk = Desk::start().await;
    let agent = desk.agent(json!({})).await;
    let done = desk
        .execute(&agent, json!({"text": "x".repeat(110_000)}))
        .await;
    let path = format!("/api/v1/runs/{}", text(&done["id"]));
    let put = desk.objects.take().into_iter();
    let put = put.filter(|call| call.action == "s3:PutObject");
    let [put] = &put.collect::<Vec<_>>()[..] else {
        panic!("one object is put")
    };
    let services = desk.app.platform.services();
    for body in ["{\"text\":\"yyy\"}".to_owned(), "y".repeat(110_011)] {
        let change = services.s3.put_object().bucket(&put.bucket).key(&put.key);
        let change = change.body(body.into_bytes().into());
        change.send().await.unwrap();
        let shown = desk.app.get(&path).bearer(&desk.key).send().await;
        shown.expect_refused(500);
    }
    let delete = services.s3.delete_object().bucket(&put.bucket);
    delete.key(&put.key).send().await.unwrap();
    let shown = desk.app.get(&path).bearer(&desk.key).send().await;
    let told = shown.expect_refused(500);
    assert!(!told.contains(&put.bucket), "{told}");
}

#[tokio::test]
async fn a_repeated_request_is_answered_though_its_answer_is_too_large_to_be_kept() {
    let desk = Desk::start().await;
    let agent = desk.agent(json!({})).await;
    desk.api.play([Turn::Text(prose(300_000))]);
    let path = format!("/api/agent-base/{agent}/executions");
    let mut answers = Vec::new();
    for _ in 0..3 {
        let body = json!({"input": {"text": prose(150_000)}, "wait": true});
        let post = desk.app.post(&path, body).bearer(&desk.token);
        let post = post.header("idempotency-key", "again");
        answers.push(post.send().await.expect(200)["data"].clone());
    }
    assert!(answers[0] == answers[1] && answers[1] == answers[2]);
    assert_eq!(desk.api.take_hits().len(), 1, "it ran once");

    // What the repetitions have put was taken back. The worker may put a value again for a reason of its own.
    let calls = desk.objects.take();
    let by_starts = |action: &str| {
        let calls = calls
            .iter()
            .filter(|call| call.caller == "ExecutionsFunction");
        let calls = calls.filter(|call| call.action == action);
        calls.map(|call| call.key.clone()).collect::<Vec<_>>()
    };
    let started = by_starts("s3:PutObject");
    assert_eq!(started.len(), 3, "{calls:#?}");
    assert_eq!(by_starts("s3:DeleteObject"), started[1..], "{calls:#?}");
}
