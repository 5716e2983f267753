//! JSON that is nested too deep, by every way into a run; and rows that cannot be read, which hide nothing else.

use std::time::{Duration, Instant};

use domain::payload::{MAX_DEPTH, MAX_DEPTH_READ};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::{ModelApi, Target, Turn, nested};
use testkit::{TestApp, eventually};

use crate::stored::{data, plant, records};

/// The number of levels that a JSON parser takes by default.
const PARSER: usize = 127;

struct Desk {
    app: TestApp,
    api: ModelApi,
    target: Target,
    token: String,
    key: String,
}

impl Desk {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let api = ModelApi::start().await;
        let account = app.register().await;
        let scopes = [
            "agents:read",
            "agents:write",
            "runs:read",
            "signals:write",
            "credentials:write",
        ];
        let key = account.agentplatform_key(&app, &scopes).await;
        let token = account.prodgy_token(&app).await;
        for provider in ["openai", "anthropic"] {
            let body = json!({"name": "x", "provider": provider, "secret": "sk-0123456789", "base_url": api.url()});
            let post = app.post("/api/v1/credentials", body).bearer(&key);
            post.send().await.expect(201);
        }
        Self {
            target: Target::start().await,
            app,
            api,
            token,
            key,
        }
    }

    /// An agent that may call the target.
    async fn agent(&self, more: Value) -> String {
        let host = self.target.url().trim_start_matches("http://");
        let mut config =
            json!({"instructions": "x", "tools": ["http_request"], "allowed_hosts": [host]});
        for (name, value) in more.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        let body = json!({"name": "A", "type": "freeform", "config": config});
        let post = self.app.post("/api/v1/agents", body).bearer(&self.key);
        text(&post.send().await.expect(201)["data"]["id"])
    }

    /// One that asks the target once, by itself.
    async fn asker(&self, path: &str) -> String {
        let call = json!({"url": format!("{}{path}", self.target.url())});
        let instructions = format!("@http_request {call}\n@http_request {call}");
        self.agent(json!({ "instructions": instructions })).await
    }

    async fn start_run(&self, agent: &str) -> String {
        let path = format!("/api/agent-base/{agent}/executions");
        let post = self.app.post(&path, json!({})).bearer(&self.token);
        text(&post.send().await.expect(202)["data"]["execution_id"])
    }

    async fn run(&self, id: &str) -> Value {
        let run = self.app.get(&format!("/api/v1/runs/{id}"));
        run.bearer(&self.key).send().await.expect(200)["data"].clone()
    }

    async fn ended(&self, run: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let shown = self.run(run).await;
            if ["completed", "failed", "cancelled"].contains(&shown["status"].as_str().unwrap()) {
                return shown;
            }
            assert!(Instant::now() < until, "stuck: {shown}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn post(&self, run: &str, what: &str) -> Value {
        let path = format!("/api/workflow/{run}/{what}");
        let request = self.app.request(Method::POST, &path).bearer(&self.token);
        request.send().await.expect(200)["data"].clone()
    }

    /// Everything that shows an agent's run: lists, the run, its messages, its events. The result is the events.
    async fn shown(&self, agent: &str, run: &str) -> String {
        for path in [
            format!("/api/agent-base/{agent}/executions"),
            format!("/api/agent-base/{agent}/executions/{run}"),
            format!("/api/workflow/{run}/status"),
        ] {
            let answer = self.app.get(&path).bearer(&self.token).send().await;
            assert!(answer.expect(200).to_string().contains(run), "{path}");
        }
        for path in [
            format!("/api/v1/agents/{agent}/runs"),
            format!("/api/v1/runs/{run}"),
        ] {
            let answer = self.app.get(&path).bearer(&self.key).send().await;
            assert!(answer.expect(200).to_string().contains(run), "{path}");
        }
        let messages = self.app.get(&format!("/api/v1/runs/{run}/messages"));
        messages.bearer(&self.key).send().await.expect(200);
        let events = self.app.get(&format!("/api/workflow/{run}/events"));
        let events = events.bearer(&self.token).send().await;
        assert_eq!(events.status, 200, "{}", events.text);
        events.text
    }

    /// The last tool result that the provider was sent.
    fn told(&self) -> Value {
        let hits = self.api.take_hits();
        let body: Value = serde_json::from_str(&hits.last().unwrap().body).unwrap();
        body["messages"].as_array().unwrap().last().unwrap().clone()
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn deep(levels: usize) -> Value {
    serde_json::from_str(&nested(levels)).unwrap()
}

#[tokio::test]
async fn what_a_client_sends_too_deep_is_refused_by_name_and_changes_nothing() {
    let desk = Desk::start().await;
    let agent = desk.agent(json!({})).await;
    let executions = format!("/api/agent-base/{agent}/executions");
    let signals = format!("/api/v1/agents/{agent}/signals");
    let of_agent = format!("/api/v1/agents/{agent}");
    let of_base = format!("/api/agent-base/{agent}");
    let doors = [
        (
            Method::POST,
            executions.as_str(),
            "input",
            r#"{"input": @}"#,
        ),
        (
            Method::POST,
            &signals,
            "payload",
            r#"{"type": "x", "payload": @}"#,
        ),
        (
            Method::POST,
            "/api/v1/agents",
            "config",
            r#"{"name": "x", "type": "freeform", "config": @}"#,
        ),
        (Method::PATCH, &of_agent, "config", r#"{"config": @}"#),
        (Method::PUT, &of_base, "parameters", r#"{"parameters": @}"#),
        // Handlers do not read this member, and its depth is limited all the same.
        (Method::POST, &executions, "other", r#"{"other": @}"#),
    ];
    for (method, path, field, body) in doors {
        let (credential, status) = match path.starts_with("/api/v1/") {
            true => (&desk.key, 422),
            false => (&desk.token, 400),
        };
        for levels in [MAX_DEPTH + 1, PARSER + 1, 100_000] {
            let body = body.replace('@', &nested(levels));
            let request = desk.app.request(method.clone(), path).bearer(credential);
            let refused = request.raw(body).send().await.expect_refused(status);
            assert!(refused.contains(field), "{field}: {refused}");
            assert!(refused.contains("64 levels"), "{field}: {refused}");
        }
    }
    let runs = desk.app.get(&format!("/api/v1/agents/{agent}/runs"));
    let runs = runs.bearer(&desk.key).send().await.expect(200);
    assert_eq!(runs["data"], json!([]));

    let input = |levels| json!({ "a": deep(levels - 1) });
    let execute = |input: Value| {
        let body = json!({"input": input, "wait": true});
        desk.app.post(&executions, body).bearer(&desk.token).send()
    };
    execute(input(MAX_DEPTH + 1)).await.expect_refused(400);
    let run = execute(input(MAX_DEPTH)).await.expect(200);
    let run = text(&run["data"]["id"]);
    assert_eq!(desk.ended(&run).await["status"], "completed");
    desk.shown(&agent, &run).await;
    let path = format!("{executions}/{run}");
    let shown = desk.app.get(&path).bearer(&desk.token).send().await;
    assert_eq!(shown.expect(200)["data"]["input"], input(MAX_DEPTH));
}

#[tokio::test]
async fn a_tool_s_reply_that_is_too_deep_is_told_as_text() {
    let desk = Desk::start().await;
    for (levels, note) in [
        (MAX_DEPTH, false),
        (MAX_DEPTH + 1, true),
        (PARSER, true),
        (25_000, true),
    ] {
        let agent = desk.agent(json!({"model": "openai/gpt-5"})).await;
        let url = format!("{}/nested/{levels}", desk.target.url());
        desk.api.play([
            Turn::Calls(vec![("http_request", json!({ "url": url }))]),
            Turn::Text("Seen.".to_owned()),
        ]);
        let run = desk.start_run(&agent).await;
        assert_eq!(desk.ended(&run).await["status"], "completed", "{levels}");
        let told = desk.told();
        let told: Value = serde_json::from_str(told["content"].as_str().unwrap()).unwrap();
        let (body, why) = if note {
            let why = "the body is JSON nested more than 64 levels deep, and is shown as text";
            (json!(nested(levels)), json!(why))
        } else {
            (deep(levels), Value::Null)
        };
        assert_eq!((&told["body"], &told["note"]), (&body, &why), "{levels}");
        let events = desk.shown(&agent, &run).await;
        // Events show the first 2 KB of a result.
        assert!(
            events.contains(&nested(levels)[..levels.min(1000)]),
            "{levels}"
        );
    }
}

#[tokio::test]
async fn arguments_and_answers_of_a_model_that_are_too_deep_are_kept_as_text() {
    let desk = Desk::start().await;
    let url = desk.target.url();
    for model in ["openai/gpt-5", "anthropic/claude-sonnet-4-5"] {
        for (levels, works) in [
            (MAX_DEPTH - 1, true),
            (MAX_DEPTH, false),
            (PARSER - 1, false),
        ] {
            let agent = desk.agent(json!({ "model": model })).await;
            let arguments = json!({"url": url, "method": "POST", "body": deep(levels)});
            desk.api.play([
                Turn::Calls(vec![("http_request", arguments)]),
                Turn::Text("Seen.".to_owned()),
            ]);
            let before = desk.target.hits().len();
            let run = desk.start_run(&agent).await;
            assert_eq!(desk.ended(&run).await["status"], "completed", "{levels}");
            let told = desk.told().to_string();
            let refusal = "the arguments are not a JSON object of at most 64 levels";
            assert_eq!(told.contains(refusal), !works, "{levels}: {told}");
            assert_eq!(desk.target.hits().len() > before, works, "{levels}");
            desk.shown(&agent, &run).await;
        }
    }

    let schema = json!({"type": "array"});
    let agent = desk
        .agent(json!({"model": "openai/gpt-5", "output_schema": schema}))
        .await;
    for (levels, status) in [
        (MAX_DEPTH, "completed"),
        (MAX_DEPTH + 1, "failed"),
        (100_000, "failed"),
    ] {
        desk.api.play([Turn::Text(nested(levels))]);
        let run = desk.start_run(&agent).await;
        let ended = desk.ended(&run).await;
        assert_eq!(ended["status"], status, "{levels}");
        if status == "completed" {
            assert_eq!(ended["output"]["data"], deep(levels));
        } else {
            let why = "the model's answer is nested more than 64 levels deep";
            assert_eq!(ended["error"], why);
        }
        let events = desk.shown(&agent, &run).await;
        assert!(events.contains("execution"), "{events}");
    }
}

#[tokio::test]
async fn what_was_stored_deeper_can_be_read_and_stopped() {
    let desk = Desk::start().await;
    for levels in [PARSER, MAX_DEPTH_READ + 1] {
        let agent = desk.asker("/slow").await;
        let run = desk.start_run(&agent).await;
        let asked = desk.target.hits().len();
        eventually("a request", async || desk.target.hits().len() > asked).await;
        desk.post(&run, "pause").await;
        let status = format!("/api/workflow/{run}/status");
        let is_paused = async || {
            let status = desk.app.get(&status).bearer(&desk.token).send().await;
            status.expect(200)["data"]["status"] == "paused"
        };
        eventually("a pause", is_paused).await;

        // As a journal had it whose writer took whatever could be parsed.
        // The result and the pause were written together.
        let steps = records(&desk.app, "run_steps").await;
        let step = steps
            .into_iter()
            .rev()
            .find(|steps| data(steps)[0]["event"]["kind"] == "tool_returned");
        let step = step.unwrap();
        let planted = data(&step)
            .to_string()
            .replace(r#""{\"ok\":true}""#, &nested(levels));
        assert!(planted.contains(&nested(levels)));
        plant(&desk.app, step, planted).await;

        let stopped = desk.post(&run, "stop").await;
        assert_eq!(stopped["status"], "stopped");
        let error = desk.run(&run).await["error"].clone();
        if levels == PARSER {
            assert_eq!(error, Value::Null);
            let events = desk.shown(&agent, &run).await;
            assert!(events.contains(&nested(levels)));
        } else {
            assert!(
                error.as_str().unwrap().contains("may or may not"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn one_row_that_cannot_be_read_hides_no_other() {
    let desk = Desk::start().await;
    let agent = desk.asker("/").await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        let run = desk.start_run(&agent).await;
        assert_eq!(desk.ended(&run).await["status"], "completed");
        runs.insert(0, run);
    }
    for (kind, broken) in [("run", 1), ("message", 3)] {
        let items = records(&desk.app, kind).await;
        let item = items
            .into_iter()
            .find(|item| item["PK"].as_s().unwrap().contains(&runs[broken]));
        plant(&desk.app, item.unwrap(), "{\"id\": ").await;
    }
    let ids = |rows: &Value, name: &str| -> Vec<String> {
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| text(&row[name]))
            .collect()
    };
    let without = |broken: usize| {
        let mut ids = runs.clone();
        ids.remove(broken);
        ids
    };
    // One row a page, so that the broken one is the last of a page, with others behind it.
    for (what, name, expected) in [
        ("runs", "id", without(1)),
        ("messages", "run_id", without(3)),
    ] {
        let path = format!("/api/v1/agents/{agent}/{what}");
        let whole = desk
            .app
            .get(&path)
            .bearer(&desk.key)
            .send()
            .await
            .expect(200);
        assert_eq!(ids(&whole["data"], name), expected, "{what}");
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = desk.app.get(&format!("{path}?limit=1{cursor}"));
            let page = page.bearer(&desk.key).send().await.expect(200);
            seen.extend(ids(&page["data"], name));
            let Some(next) = page["meta"]["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, expected, "{what}");
    }
}
