//! JSON that is nested too deep, by every way into a run; and rows that cannot be read, which hide nothing else.

use domain::payload::{MAX_DEPTH, MAX_DEPTH_READ};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::{Turn, nested};
use testkit::{Fixture, eventually};

use crate::stored::{data, plant, records};

/// The number of levels that a JSON parser takes by default.
const PARSER: usize = 127;

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn deep(levels: usize) -> Value {
    serde_json::from_str(&nested(levels)).unwrap()
}

async fn start() -> Fixture {
    let fixture = Fixture::start().await;
    for provider in ["openai", "anthropic"] {
        fixture.store_credential(provider).await;
    }
    fixture
}

/// An agent that may call the target.
async fn agent(fixture: &Fixture, more: Value) -> String {
    let hosts = [fixture.target_host()];
    let mut config =
        json!({"instructions": "x", "tools": ["http_request"], "allowed_hosts": hosts});
    for (name, value) in more.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    fixture.agent(config).await
}

/// An agent that asks the target, by itself.
async fn asker(fixture: &Fixture, path: &str) -> String {
    fixture.agent(fixture.requests("GET", &[path, path])).await
}

async fn post(fixture: &Fixture, run: &str, what: &str) -> Value {
    let path = format!("/api/workflow/{run}/{what}");
    let request = fixture.app.post(&path, json!({})).bearer(&fixture.token);
    request.send().await.expect(200)["data"].clone()
}

/// Everything that shows an agent's run: lists, the run, its messages, its events. The result is the events.
async fn shown(fixture: &Fixture, agent: &str, run: &str) -> String {
    for path in [
        format!("/api/agent-base/{agent}/executions"),
        format!("/api/agent-base/{agent}/executions/{run}"),
        format!("/api/workflow/{run}/status"),
        format!("/api/v1/agents/{agent}/runs"),
        format!("/api/v1/runs/{run}"),
    ] {
        let answer = fixture.get(&path).await;
        assert!(answer.expect(200).to_string().contains(run), "{path}");
    }
    fixture.data(&format!("/api/v1/runs/{run}/messages")).await;
    let events = fixture.get(&format!("/api/workflow/{run}/events")).await;
    assert_eq!(events.status, 200, "{}", events.text);
    events.text
}

/// The last tool result that the provider was sent.
fn told(fixture: &Fixture) -> Value {
    let hits = fixture.models.take_hits();
    let body: Value = serde_json::from_str(&hits.last().unwrap().body).unwrap();
    body["messages"].as_array().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn what_a_client_sends_too_deep_is_refused_by_name_and_changes_nothing() {
    let fixture = start().await;
    let agent = agent(&fixture, json!({})).await;
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
            true => (&fixture.key, 422),
            false => (&fixture.token, 400),
        };
        for levels in [MAX_DEPTH + 1, PARSER + 1, 100_000] {
            let body = body.replace('@', &nested(levels));
            let request = fixture.app.request(method.clone(), path).bearer(credential);
            let refused = request.raw(body).send().await.expect_refused(status);
            assert!(refused.contains(field), "{field}: {refused}");
            assert!(refused.contains("64 levels"), "{field}: {refused}");
        }
    }
    let runs = fixture.app.get(&format!("/api/v1/agents/{agent}/runs"));
    let runs = runs.bearer(&fixture.key).send().await.expect(200);
    assert_eq!(runs["data"], json!([]));

    let input = |levels| json!({ "a": deep(levels - 1) });
    let execute = |input: Value| {
        let body = json!({"input": input, "wait": true});
        fixture
            .app
            .post(&executions, body)
            .bearer(&fixture.token)
            .send()
    };
    execute(input(MAX_DEPTH + 1)).await.expect_refused(400);
    let run = execute(input(MAX_DEPTH)).await.expect(200);
    let run = text(&run["data"]["id"]);
    assert_eq!(fixture.ended(&run).await["status"], "completed");
    shown(&fixture, &agent, &run).await;
    let path = format!("{executions}/{run}");
    let shown = fixture.app.get(&path).bearer(&fixture.token).send().await;
    assert_eq!(shown.expect(200)["data"]["input"], input(MAX_DEPTH));
}

#[tokio::test]
async fn a_tool_s_reply_that_is_too_deep_is_told_as_text() {
    let fixture = start().await;
    for (levels, note) in [
        (MAX_DEPTH, false),
        (MAX_DEPTH + 1, true),
        (PARSER, true),
        (25_000, true),
    ] {
        let agent = agent(&fixture, json!({"model": "openai/gpt-5"})).await;
        let url = format!("{}/nested/{levels}", fixture.target.url());
        fixture.models.play([
            Turn::Calls(vec![("http_request", json!({ "url": url }))]),
            Turn::Text("Seen.".to_owned()),
        ]);
        let run = fixture.start_run(&agent, json!({})).await;
        assert_eq!(fixture.ended(&run).await["status"], "completed", "{levels}");
        let told = told(&fixture);
        let told: Value = serde_json::from_str(told["content"].as_str().unwrap()).unwrap();
        let (body, why) = if note {
            let why = "the body is JSON nested more than 64 levels deep, and is shown as text";
            (json!(nested(levels)), json!(why))
        } else {
            (deep(levels), Value::Null)
        };
        assert_eq!((&told["body"], &told["note"]), (&body, &why), "{levels}");
        let events = shown(&fixture, &agent, &run).await;
        // Events show the first 2 KB of a result.
        assert!(
            events.contains(&nested(levels)[..levels.min(1000)]),
            "{levels}"
        );
    }
}

#[tokio::test]
async fn arguments_and_answers_of_a_model_that_are_too_deep_are_kept_as_text() {
    let fixture = start().await;
    let url = fixture.target.url();
    for model in ["openai/gpt-5", "anthropic/claude-sonnet-4-5"] {
        for (levels, works) in [
            (MAX_DEPTH - 1, true),
            (MAX_DEPTH, false),
            (PARSER - 1, false),
        ] {
            let agent = agent(&fixture, json!({ "model": model })).await;
            let arguments = json!({"url": url, "method": "POST", "body": deep(levels)});
            fixture.models.play([
                Turn::Calls(vec![("http_request", arguments)]),
                Turn::Text("Seen.".to_owned()),
            ]);
            let before = fixture.target.hits().len();
            let run = fixture.start_run(&agent, json!({})).await;
            assert_eq!(fixture.ended(&run).await["status"], "completed", "{levels}");
            let told = told(&fixture).to_string();
            let refusal = "the arguments are not a JSON object of at most 64 levels";
            assert_eq!(told.contains(refusal), !works, "{levels}: {told}");
            assert_eq!(fixture.target.hits().len() > before, works, "{levels}");
            shown(&fixture, &agent, &run).await;
        }
    }

    let schema = json!({"type": "array"});
    let agent = agent(
        &fixture,
        json!({"model": "openai/gpt-5", "output_schema": schema}),
    )
    .await;
    for (levels, status) in [
        (MAX_DEPTH, "completed"),
        (MAX_DEPTH + 1, "failed"),
        (100_000, "failed"),
    ] {
        fixture.models.play([Turn::Text(nested(levels))]);
        let run = fixture.start_run(&agent, json!({})).await;
        let ended = fixture.ended(&run).await;
        assert_eq!(ended["status"], status, "{levels}");
        if status == "completed" {
            assert_eq!(ended["output"]["data"], deep(levels));
        } else {
            let why = "the model's answer is nested more than 64 levels deep";
            assert_eq!(ended["error"], why);
        }
        let events = shown(&fixture, &agent, &run).await;
        assert!(events.contains("execution"), "{events}");
    }
}

#[tokio::test]
async fn what_was_stored_deeper_can_be_read_and_stopped() {
    let fixture = start().await;
    for levels in [PARSER, MAX_DEPTH_READ + 1] {
        let agent = asker(&fixture, "/slow").await;
        let run = fixture.start_run(&agent, json!({})).await;
        let asked = fixture.target.hits().len();
        eventually("a request", async || fixture.target.hits().len() > asked).await;
        post(&fixture, &run, "pause").await;
        let status = format!("/api/workflow/{run}/status");
        let is_paused = async || {
            let status = fixture.app.get(&status).bearer(&fixture.token).send().await;
            status.expect(200)["data"]["status"] == "paused"
        };
        eventually("a pause", is_paused).await;

        // As a journal had it whose writer took whatever could be parsed.
        // The result and the pause were written together.
        let steps = records(&fixture.app, "run_steps").await;
        let step = steps
            .into_iter()
            .rev()
            .find(|steps| data(steps)[0]["event"]["kind"] == "tool_returned");
        let step = step.unwrap();
        let planted = data(&step)
            .to_string()
            .replace(r#""{\"ok\":true}""#, &nested(levels));
        assert!(planted.contains(&nested(levels)));
        plant(&fixture.app, step, planted).await;

        let stopped = post(&fixture, &run, "stop").await;
        assert_eq!(stopped["status"], "stopped");
        let error = fixture.run(&run).await["error"].clone();
        if levels == PARSER {
            assert_eq!(error, Value::Null);
            let events = shown(&fixture, &agent, &run).await;
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
    let fixture = start().await;
    let agent = asker(&fixture, "/").await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        let run = fixture.start_run(&agent, json!({})).await;
        assert_eq!(fixture.ended(&run).await["status"], "completed");
        runs.insert(0, run);
    }
    for (kind, broken) in [("run", 1), ("message", 3)] {
        let items = records(&fixture.app, kind).await;
        let item = items
            .into_iter()
            .find(|item| item["PK"].as_s().unwrap().contains(&runs[broken]));
        plant(&fixture.app, item.unwrap(), "{\"id\": ").await;
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
        let whole = fixture
            .app
            .get(&path)
            .bearer(&fixture.key)
            .send()
            .await
            .expect(200);
        assert_eq!(ids(&whole["data"], name), expected, "{what}");
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = fixture.app.get(&format!("{path}?limit=1{cursor}"));
            let page = page.bearer(&fixture.key).send().await.expect(200);
            seen.extend(ids(&page["data"], name));
            let Some(next) = page["meta"]["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, expected, "{what}");
    }
}
