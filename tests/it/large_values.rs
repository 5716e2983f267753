//! Values of runs that no item of a table has room for: they come back whole, or the client is told that they are too large.

use std::path::Path;
use std::time::{Duration, Instant};

use local::{Data, Options};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::{Target, Turn, large};
use testkit::{Fixture, S3Recorder, TestApp};

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

async fn start(change: impl FnOnce(Options) -> Options) -> (Fixture, S3Recorder) {
    let objects = S3Recorder::default();
    let proxy = objects.proxy();
    let fixture = Fixture::with(|options| {
        change(Options {
            s3_proxy: Some(proxy),
            ..options
        })
    })
    .await;
    fixture.store_credential("openai").await;
    (fixture, objects)
}

/// An agent that asks the provider.
async fn agent(fixture: &Fixture, tools: Value) -> String {
    let mut config = json!({"instructions": "x", "model": "openai/gpt-5"});
    for (name, value) in tools.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    fixture.agent(config).await
}

#[tokio::test]
async fn a_large_input_reaches_the_agent_and_comes_back_whole() {
    let (fixture, _) = start(|options| options).await;
    let agent = agent(&fixture, json!({})).await;
    let input = json!({"text": prose(1536 * 1024)});

    let done = fixture.run_to_end(&agent, input.clone()).await;
    assert!(done["input"] == input, "the answer to the start");
    let asked = fixture.models.take_hits();
    let asked: Value = serde_json::from_str(&asked[0].body).unwrap();
    let told = text(&asked["messages"][1]["content"]);
    assert!(serde_json::from_str::<Value>(&told).unwrap() == input);

    let run = text(&done["id"]);
    let executions = format!("/api/agent-base/{agent}/executions");
    let shown = fixture
        .get(&format!("{executions}/{run}"))
        .await
        .expect(200);
    assert!(shown["data"]["input"] == input);
    let listed = fixture.get(&executions).await.expect(200);
    assert_eq!(listed["data"][0]["input"], Value::Null);

    let body = json!({"type": "report.filed", "payload": input});
    let path = format!("/api/v1/agents/{agent}/signals");
    let sent = fixture
        .app
        .post(&path, body)
        .bearer(&fixture.key)
        .send()
        .await;
    let run = fixture
        .ended(&text(&sent.expect(202)["data"]["run_id"]))
        .await;
    assert!(run["input"] == input && run["signal"]["payload"] == input);

    let other = fixture.app.register().await;
    let other = other.agentplatform_key(&fixture.app, &["runs:read"]).await;
    let path = format!("/api/v1/runs/{}", text(&run["id"]));
    let denied = fixture.app.get(&path).bearer(&other).send().await;
    denied.expect_refused(404);
}

#[tokio::test]
async fn large_outputs_and_messages_come_back_whole_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (mut fixture, _) = start(kept_in(directory.path())).await;
    let agent = agent(&fixture, json!({})).await;
    let mut runs = Vec::new();
    for length in [150_000, 600_000] {
        let said = prose(length);
        fixture.models.play([Turn::Text(said.clone())]);
        let done = fixture.run_to_end(&agent, json!({"n": length})).await;
        assert!(done["output"]["text"] == said.as_str(), "{length}");
        runs.push((text(&done["id"]), said));
    }
    for restarted in [false, true] {
        if restarted {
            fixture.app.platform.stop().await;
            fixture.app = TestApp::with(kept_in(directory.path())).await;
        }
        for (run, said) in &runs {
            let path = format!("/api/agent-base/{agent}/executions/{run}");
            let shown = fixture.get(&path).await.expect(200);
            assert!(shown["data"]["output"]["text"] == said.as_str());
            let path = format!("/api/v1/runs/{run}");
            let shown = fixture.get(&path).await.expect(200);
            assert!(shown["data"]["output"]["text"] == said.as_str());
            let messages = fixture.get(&format!("{path}/messages")).await.expect(200);
            assert!(messages["data"][0]["content"] == said.as_str());
        }
        let messages = fixture
            .get(&format!("/api/v1/agents/{agent}/messages"))
            .await
            .expect(200);
        assert!(messages["data"][0]["content"] == runs[1].1.as_str());
        assert!(messages["data"][1]["content"] == runs[0].1.as_str());
    }
}

#[tokio::test]
async fn a_run_goes_on_from_a_large_tool_result_in_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let (mut fixture, _) = start(kept_in(directory.path())).await;
    let target = Target::start().await;
    let host = target.url().trim_start_matches("http://");
    let tools = json!({"tools": ["http_request"], "allowed_hosts": [host]});
    let agent = agent(&fixture, tools).await;
    let url = format!("{}/large", target.url());
    let call = ("http_request", json!({"method": "GET", "url": url}));
    fixture.models.play([
        Turn::Calls(vec![call]),
        Turn::Slow(Duration::from_secs(600)),
    ]);
    let path = format!("/api/agent-base/{agent}/executions");
    let started = fixture.app.post(&path, json!({})).bearer(&fixture.token);
    let run = text(&started.send().await.expect(202)["data"]["execution_id"]);
    let until = Instant::now() + Duration::from_secs(60);
    let mut asked = Vec::new();
    while asked.len() < 2 {
        asked.extend(fixture.models.take_hits());
        assert!(Instant::now() < until, "the model is not asked again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    drop(fixture.app);
    fixture.app = TestApp::with(kept_in(directory.path())).await;
    let ended = fixture.ended(&run).await;
    assert_eq!(ended["output"]["text"], "Done.");
    assert_eq!(target.hits().len(), 1, "the call is not made again");
    let again = fixture.models.take_hits();
    let again: Value = serde_json::from_str(&again[0].body).unwrap();
    let before: Value = serde_json::from_str(&asked[1].body).unwrap();
    assert!(again["messages"] == before["messages"]);
    let told = again["messages"][3]["content"].to_string();
    assert!(told.len() > large().len());
}

#[tokio::test]
async fn a_page_of_large_messages_ends_before_it_outgrows_a_response() {
    let (fixture, _) = start(|options| options).await;
    let agent = agent(&fixture, json!({})).await;
    let said = prose(900_000);
    for _ in 0..6 {
        fixture.models.play([Turn::Text(said.clone())]);
        fixture.run_to_end(&agent, json!({})).await;
    }
    let path = format!("/api/v1/agents/{agent}/messages?limit=200");
    let (mut seen, mut query) = (0, String::new());
    loop {
        let page = fixture.get(&format!("{path}{query}")).await.expect(200);
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
    let (fixture, objects) = start(|options| options).await;
    let agent = agent(&fixture, json!({})).await;
    let executions = format!("/api/agent-base/{agent}/executions");
    let signals = format!("/api/v1/agents/{agent}/signals");
    let signal = |payload: Value| json!({"type": "x", "payload": payload});
    // Quotes take up twice their room on their way.
    for large in [
        json!({"a": prose(2_000_000)}),
        json!({"a": "\"".repeat(600_000)}),
    ] {
        let body = json!({"input": large});
        let told = fixture.app.post(&executions, body).bearer(&fixture.token);
        let told = told.send().await.expect_refused(400);
        assert!(told.contains("input") && told.contains("2000000"), "{told}");
        let told = fixture
            .app
            .post(&signals, signal(large))
            .bearer(&fixture.key);
        let told = told.send().await.expect_refused(422);
        assert!(told.contains("payload"), "{told}");
    }
    let body = json!({"input": {"a": "x".repeat(4 * 1024 * 1024)}});
    let told = fixture.app.post(&executions, body).bearer(&fixture.token);
    let told = told.send().await.expect_refused(400);
    assert!(told.contains("larger than 4194304 bytes"), "{told}");
    // Other routes take what they took.
    let body = json!({"name": "x".repeat(600 * 1024)});
    let agents = fixture
        .app
        .request(Method::POST, "/api/v1/agents")
        .json(body);
    agents.bearer(&fixture.key).send().await.expect_refused(413);

    assert_eq!(
        fixture.get(&executions).await.expect(200)["data"],
        json!([])
    );
    assert_eq!(objects.take(), []);

    // An answer that no run can keep ends the run in so many words.
    fixture.models.play([Turn::Text("\"".repeat(510_000))]);
    let done = fixture.run_to_end(&agent, json!({})).await;
    assert_eq!(done["status"], "failed", "{}", done["error"]);
    assert!(text(&done["error"]).contains("larger than 2000000 bytes"));
}

#[tokio::test]
async fn an_object_that_is_not_what_was_written_is_no_value() {
    let (fixture, objects) = start(|options| options).await;
    let agent = agent(&fixture, json!({})).await;
    let done = fixture
        .run_to_end(&agent, json!({"text": "x".repeat(110_000)}))
        .await;
    let path = format!("/api/v1/runs/{}", text(&done["id"]));
    let put = objects.take().into_iter();
    let put = put.filter(|call| call.action == "s3:PutObject");
    let [put] = &put.collect::<Vec<_>>()[..] else {
        panic!("one object is put")
    };
    let services = fixture.app.platform.services();
    for body in ["{\"text\":\"yyy\"}".to_owned(), "y".repeat(110_011)] {
        let change = services.s3.put_object().bucket(&put.bucket).key(&put.key);
        let change = change.body(body.into_bytes().into());
        change.send().await.unwrap();
        let shown = fixture.app.get(&path).bearer(&fixture.key).send().await;
        shown.expect_refused(500);
    }
    let delete = services.s3.delete_object().bucket(&put.bucket);
    delete.key(&put.key).send().await.unwrap();
    let shown = fixture.app.get(&path).bearer(&fixture.key).send().await;
    let told = shown.expect_refused(500);
    assert!(!told.contains(&put.bucket), "{told}");
}

#[tokio::test]
async fn a_repeated_request_is_answered_though_its_answer_is_too_large_to_be_kept() {
    let (fixture, objects) = start(|options| options).await;
    let agent = agent(&fixture, json!({})).await;
    fixture.models.play([Turn::Text(prose(300_000))]);
    let path = format!("/api/agent-base/{agent}/executions");
    let mut answers = Vec::new();
    for _ in 0..3 {
        let body = json!({"input": {"text": prose(150_000)}, "wait": true});
        let post = fixture.app.post(&path, body).bearer(&fixture.token);
        let post = post.header("idempotency-key", "again");
        answers.push(post.send().await.expect(200)["data"].clone());
    }
    assert!(answers[0] == answers[1] && answers[1] == answers[2]);
    assert_eq!(fixture.models.take_hits().len(), 1, "it ran once");

    // What the repetitions have put was taken back. The worker may put a value again for a reason of its own.
    let calls = objects.take();
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
