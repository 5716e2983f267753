//! `Idempotency-Key`: what repetitions of a request are answered with, whatever has changed meanwhile.

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, TestResponse};

const SCOPES: &[&str] = &["agents:read", "agents:write", "runs:read", "signals:write"];

async fn send(app: &TestApp, credential: &str, path: &str, body: Value) -> TestResponse {
    let post = app.post(path, body).bearer(credential);
    post.header("idempotency-key", "once").send().await
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

async fn runs_of(app: &TestApp, key: &str, agent: &str) -> usize {
    let runs = app.get(&format!("/api/v1/agents/{agent}/runs")).bearer(key);
    let runs = runs.send().await.expect(200);
    runs["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_repetition_finds_its_run_also_when_the_agent_would_not_run_any_more() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    let token = account.prodgy_token(&app).await;
    let agent = app.agent(&key, "x").await;
    let executions = format!("/api/agent-base/{agent}/executions");
    let signals = format!("/api/v1/agents/{agent}/signals");
    let execute = || send(&app, &token, &executions, json!({"input": {"text": "x"}}));
    let signal = || send(&app, &key, &signals, json!({"type": "x"}));
    let execution = execute().await.expect(202)["data"]["execution_id"].clone();
    let signalled = signal().await.expect(202)["data"].clone();
    assert_ne!(signalled["id"], signalled["run_id"], "ids of two things");

    let change = |method: Method, path: String| app.request(method, &path).bearer(&key).send();
    change(Method::POST, format!("/api/v1/agents/{agent}/pause"))
        .await
        .expect(200);
    for _ in 0..2 {
        app.lose_answers().await;
        let again = execute().await.expect(202);
        assert_eq!(again["data"]["execution_id"], execution);
        assert_eq!(signal().await.expect(202)["data"], signalled);
    }
    app.post(&executions, json!({}))
        .bearer(&token)
        .send()
        .await
        .expect_refused(400);
    change(Method::POST, format!("/api/v1/agents/{agent}/resume"))
        .await
        .expect(200);
    app.lose_answers().await;
    assert_eq!(signal().await.expect(202)["data"], signalled);
    assert_eq!(runs_of(&app, &key, &agent).await, 2);

    let deleted = change(Method::DELETE, format!("/api/v1/agents/{agent}")).await;
    assert_eq!(deleted.status, 204);
    app.lose_answers().await;
    let again = execute().await.expect(202);
    assert_eq!(again["data"]["execution_id"], execution);
    assert_eq!(signal().await.expect(202)["data"], signalled);
}

#[tokio::test]
async fn a_repetition_that_is_refused_leaves_the_key_to_what_was_done() {
    let app = TestApp::with_own_clock().await;
    let admin = app.register().await;
    let second = app.post("/api/workspaces", json!({"name": "Second"}));
    let second = second.bearer(&admin.access_token).send().await;
    let second = text(&second.expect(201)["data"]["id"]);
    let invite = json!({"email": "grace@example.com", "name": "Grace", "role": "USER"});
    let invited = app.post("/api/organization/members", invite);
    let invited = invited.bearer(&admin.access_token).send().await;
    let invited = invited.expect(201)["data"].clone();
    let body = json!({
        "email": "grace@example.com", "password": Account::PASSWORD, "name": "Grace", "invitation": invited["invitation"],
    });
    let member = app.post("/api/auth/register", body).send().await;
    let member = text(&member.expect(201)["data"]["access_token"]);
    let body = json!({"name": "CI", "product_id": second});
    let create = || send(&app, &member, "/api/api-tokens", body.clone());
    let token = create().await.expect(201)["data"]["id"].clone();

    let path = format!("/api/organization/members/{}", text(&invited["id"]));
    let keep_to = |workspaces: Value| {
        let change = json!({ "workspaces": workspaces });
        let patch = app.request(Method::PATCH, &path).json(change);
        patch.bearer(&admin.access_token).send()
    };
    keep_to(json!([admin.workspace_id])).await.expect(200);
    app.lose_answers().await;
    create().await.expect_refused(404);
    create().await.expect_refused(404);
    keep_to(json!(null)).await.expect(200);
    // The token has ended with the workspace, and no other is made in its place.
    create().await.expect_refused(400);
    let listed = app.get(&format!("/api/api-tokens/product/{second}"));
    let listed = listed.bearer(&admin.access_token).send().await.expect(200);
    let listed = listed["data"].as_array().unwrap();
    assert!(
        listed.len() <= 1 && listed.iter().all(|listed| listed["id"] == token),
        "{listed:?}"
    );
}

#[tokio::test]
async fn an_answer_is_given_again_to_those_who_may_still_ask() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let body = json!({"name": "k", "kind": "agentplatform", "scopes": ["agents:write"]});
    let made = app.post("/api/settings/api-keys", body);
    let made = made.bearer(&account.access_token).send().await.expect(201);
    let key = text(&made["key"]);
    let path = format!("/api/settings/api-keys/{}", text(&made["id"]));
    let scopes = |scopes: Value| {
        let patch = app.request(Method::PATCH, &path);
        let patch = patch.json(json!({ "scopes": scopes }));
        patch.bearer(&account.access_token).send()
    };
    let body = json!({"name": "A", "type": "freeform", "config": {"instructions": "x"}});
    let create = || send(&app, &key, "/api/v1/agents", body.clone());
    let made = create().await.expect(201);

    scopes(json!(["agents:read"])).await.expect(200);
    create().await.expect_refused(403);
    scopes(json!(["agents:read", "agents:write"]))
        .await
        .expect(200);
    let again = create().await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), made);
}

#[tokio::test]
async fn a_key_is_free_at_once_after_an_answer_of_5xx() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    let token = account.prodgy_token(&app).await;
    let agent = app.agent(&key, "x").await;
    let path = format!("/api/agent-base/{agent}/executions");
    let execute = || send(&app, &token, &path, json!({}));

    let row = Row::of_agent(&app, &account, &agent);
    let readable = row.data().await;
    row.write("not JSON").await;
    for _ in 0..2 {
        execute().await.expect_refused(500);
    }
    row.write(&readable).await;
    let first = execute().await.expect(202);
    let again = execute().await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(202), first);
    assert_eq!(runs_of(&app, &key, &agent).await, 1);
}

/// An agent's row in its table.
struct Row<'a> {
    app: &'a TestApp,
    partition: String,
    sort: String,
}

impl<'a> Row<'a> {
    fn of_agent(app: &'a TestApp, account: &Account, agent: &str) -> Self {
        Self {
            app,
            partition: format!("workspace#{}#agent", account.workspace_id),
            sort: agent.to_owned(),
        }
    }

    async fn data(&self) -> String {
        let services = self.app.platform.services();
        let get = services.dynamodb.get_item();
        let get = get.table_name(&services.config.tables.records);
        let get = get.key("PK", AttributeValue::S(self.partition.clone()));
        let get = get.key("SK", AttributeValue::S(self.sort.clone()));
        let item = get.send().await.unwrap().item.expect("an item");
        item["data"].as_s().unwrap().clone()
    }

    async fn write(&self, data: &str) {
        let services = self.app.platform.services();
        let update = services.dynamodb.update_item();
        let update = update.table_name(&services.config.tables.records);
        let update = update.key("PK", AttributeValue::S(self.partition.clone()));
        let update = update.key("SK", AttributeValue::S(self.sort.clone()));
        let update = update.update_expression("SET #data = :data");
        let update = update.expression_attribute_names("#data", "data");
        let update = update.expression_attribute_values(":data", AttributeValue::S(data.into()));
        update.send().await.unwrap();
    }
}
