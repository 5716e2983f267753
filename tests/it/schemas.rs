//! Output schemas, which are programs that tenants write: bounded when they are taken, and again when they are loaded.

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::future::{Either, join_all, select};
use local::{Data, Options};
use reqwest::Method;
use serde_json::{Map, Value, json};
use testkit::fakes::{ModelApi, Turn};
use testkit::{Account, TestApp};

use crate::stored::{data, plant, records};

const TEXT: &str = "applies more than 32 subschemas to one value";

/// Each level applies the one before it twice.
fn doubling(levels: usize) -> Value {
    let mut definitions = Map::from_iter([("d0".to_owned(), json!({"type": "string"}))]);
    for level in 1..=levels {
        let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
        let twice = json!({"anyOf": [{"allOf": [below]}, {"allOf": [below, {"minimum": level}]}]});
        definitions.insert(format!("d{level}"), twice);
    }
    json!({"$defs": definitions, "$ref": format!("#/$defs/d{levels}")})
}

fn fine() -> Value {
    json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
}

/// A tenant with agents that ask a provider of their own.
struct Tenant {
    api: ModelApi,
    token: String,
    key: String,
}

impl Tenant {
    async fn of(app: &TestApp) -> Self {
        let (api, account): (_, Account) = (ModelApi::start().await, app.register().await);
        let scopes = [
            "agents:read",
            "agents:write",
            "runs:read",
            "credentials:write",
        ];
        let key = account.agentplatform_key(app, &scopes).await;
        let body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789", "base_url": api.url()});
        let post = app.post("/api/v1/credentials", body).bearer(&key);
        post.send().await.expect(201);
        Self {
            token: account.prodgy_token(app).await,
            api,
            key,
        }
    }

    async fn agent(&self, app: &TestApp, schema: &Value) -> String {
        let config = json!({"instructions": "x", "model": "openai/gpt-5", "output_schema": schema});
        let body = json!({"name": "A", "type": "freeform", "config": config});
        let post = app.post("/api/v1/agents", body).bearer(&self.key);
        text(&post.send().await.expect(201)["data"]["id"])
    }

    async fn start_run(&self, app: &TestApp, agent: &str) -> String {
        let path = format!("/api/agent-base/{agent}/executions");
        let post = app.post(&path, json!({})).bearer(&self.token);
        text(&post.send().await.expect(202)["data"]["execution_id"])
    }

    async fn ended(&self, app: &TestApp, run: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let shown = app.get(&format!("/api/v1/runs/{run}")).bearer(&self.key);
            let shown = shown.send().await.expect(200)["data"].clone();
            if shown["status"] == "completed" || shown["status"] == "failed" {
                return shown;
            }
            assert!(Instant::now() < until, "stuck: {shown}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The result of some work, and the time that each answer to a probe took meanwhile.
async fn probed<T>(app: &TestApp, work: impl Future<Output = T>) -> (T, Vec<Duration>) {
    let mut work = pin!(work);
    let mut took = Vec::new();
    loop {
        let start = Instant::now();
        let probe = pin!(async {
            app.get("/healthz").send().await.expect(200);
        });
        match select(work, probe).await {
            Either::Left((done, probe)) => {
                probe.await;
                took.push(start.elapsed());
                return (done, took);
            }
            Either::Right(((), rest)) => work = rest,
        }
        took.push(start.elapsed());
        let pause = pin!(tokio::time::sleep(Duration::from_millis(5)));
        match select(work, pause).await {
            Either::Left((done, _)) => return (done, took),
            Either::Right(((), rest)) => work = rest,
        }
    }
}

/// Fails when probes waited for more than their turn at the processors, which all tests share.
fn assert_prompt(mut took: Vec<Duration>) {
    took.sort();
    let (median, late) = (took[took.len() / 2], took[took.len() * 19 / 20]);
    assert!(
        median < Duration::from_millis(250) && late < Duration::from_secs(2),
        "{median:?} at the median, {late:?} at 95 of 100, {:?} at most",
        took.last()
    );
}

fn kept_in(directory: &Path) -> impl FnOnce(Options) -> Options {
    let directory = directory.to_owned();
    |options| Options {
        data: Data::Directory(directory),
        ..options
    }
}

#[tokio::test]
async fn a_schema_without_bound_is_refused_by_name() {
    let app = TestApp::start().await;
    let tenant = Tenant::of(&app).await;
    let agent = tenant.agent(&app, &fine()).await;
    let node = json!({"$ref": "#/$defs/n"});
    let circle = json!({"anyOf": [{"properties": {"a": node}}, {"properties": {"b": node}}]});
    for (schema, expected) in [
        (doubling(39), TEXT),
        (doubling(10), "applies more than 2000 subschemas"),
        (
            json!({"$defs": {"n": circle}, "$ref": "#/$defs/n"}),
            "recursion under a combinator",
        ),
        (json!({"type": "objekt"}), "is not a JSON Schema"),
        (json!({"pattern": "^(?!x)"}), "look-around"),
        (
            json!({"$ref": "https://example.com/schema"}),
            "refers to https://example.com/schema",
        ),
    ] {
        let parameters =
            json!({"instructions": "x", "model": "openai/gpt-5", "output_schema": schema});
        let by_slug = json!({"name": "A", "slug": "freeform", "parameters": parameters});
        let by_type = json!({"name": "A", "type": "freeform", "config": parameters});
        for (method, path, body, prefix) in [
            (Method::POST, "/api/v1/agents", by_type, "config"),
            (
                Method::PATCH,
                &*format!("/api/v1/agents/{agent}"),
                json!({"config": {"output_schema": schema}}),
                "config",
            ),
            (
                Method::POST,
                "/api/agent-base/install",
                by_slug,
                "parameters",
            ),
            (
                Method::PUT,
                &*format!("/api/agent-base/{agent}"),
                json!({"parameters": parameters}),
                "parameters",
            ),
        ] {
            let (credential, status) = match prefix {
                "config" => (&tenant.key, 422),
                _ => (&tenant.token, 400),
            };
            let request = app.request(method, path).bearer(credential).json(body);
            let refused = request.send().await.expect_refused(status);
            let field = format!("{prefix}.output_schema");
            assert!(
                refused.contains(&field) && refused.contains(expected),
                "{path}: {refused}"
            );
        }
    }
    let kept = app
        .get(&format!("/api/v1/agents/{agent}"))
        .bearer(&tenant.key);
    assert_eq!(
        kept.send().await.expect(200)["data"]["config"]["output_schema"],
        fine()
    );

    tenant.api.play([
        Turn::Text(json!({"n": 7}).to_string()),
        Turn::Text(json!({"n": "seven"}).to_string()),
    ]);
    let first = tenant.start_run(&app, &agent).await;
    assert_eq!(
        tenant.ended(&app, &first).await["output"]["data"],
        json!({"n": 7})
    );
    let second = tenant.start_run(&app, &agent).await;
    let error = text(&tenant.ended(&app, &second).await["error"]);
    assert!(
        error.starts_with("the model's answer does not fit output_schema: /n "),
        "{error}"
    );
}

#[tokio::test]
async fn a_stored_schema_without_bound_fails_its_run_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut app = TestApp::with(kept_in(directory.path())).await;
    let (one, other) = (Tenant::of(&app).await, Tenant::of(&app).await);
    let bad = one.agent(&app, &fine()).await;
    let good = other.agent(&app, &fine()).await;
    let answers = std::iter::repeat_n(Turn::Text(json!({"n": 1}).to_string()), 9);

    // As a version kept it that was taken before there were bounds.
    let versions = records(&app, "agent_version").await;
    let version = versions
        .into_iter()
        .find(|version| data(version)["agent_id"] == bad.as_str());
    let version = version.expect("the agent's version");
    let mut planted = data(&version);
    planted["parameters"]["output_schema"] = doubling(39);
    plant(&app, version.clone(), planted.to_string()).await;

    other.api.play(answers);
    let start = Instant::now();
    let work = async {
        let run = one.start_run(&app, &bad).await;
        let healthy = join_all((0..9).map(|_| other.start_run(&app, &good))).await;
        let failed = one.ended(&app, &run).await;
        let took = start.elapsed();
        for run in healthy {
            let ended = other.ended(&app, &run).await;
            assert_eq!(
                (&ended["status"], &ended["output"]["data"]),
                (&json!("completed"), &json!({"n": 1}))
            );
        }
        (failed, took)
    };
    let ((failed, took), probes) = probed(&app, work).await;
    assert_eq!(failed["status"], "failed");
    assert!(text(&failed["error"]).contains(TEXT), "{failed}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_prompt(probes);

    // A run under way whose schema is found when another process takes it up.
    plant(&app, version.clone(), data(&version).to_string()).await;
    one.api.take_hits();
    one.api.play([Turn::Slow(Duration::from_secs(600))]);
    let run = one.start_run(&app, &bad).await;
    let until = Instant::now() + Duration::from_secs(30);
    while one.api.take_hits().is_empty() {
        assert!(Instant::now() < until, "the model is not asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    plant(&app, version, planted.to_string()).await;
    app.leave_work();
    drop(app);
    app = TestApp::with(kept_in(directory.path())).await;
    let start = Instant::now();
    let (failed, probes) = probed(&app, one.ended(&app, &run)).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(text(&failed["error"]).contains(TEXT), "{failed}");
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert_prompt(probes);
}
