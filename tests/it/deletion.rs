//! Deleting agents, workspaces and organizations: what ends with them at once, and that nothing of them is left.

mod agents;
mod everything;
mod removal;
mod retention;
mod workspaces;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::Target;
use testkit::{Account, TestApp, TestResponse};

const SCOPES: &[&str] = &[
    "agents:read",
    "agents:write",
    "runs:read",
    "signals:write",
    "audit_logs:read",
    "usage:read",
    "credentials:write",
];

/// An account with its credentials, and an agent that asks `target` for something slow.
struct Tenant {
    account: Account,
    /// Prodgy's.
    token: String,
    /// AgentPlatform's.
    key: String,
    agent: String,
}

impl Tenant {
    async fn of(app: &TestApp, account: Account, target: &Target) -> Self {
        let key = account.agentplatform_key(app, SCOPES).await;
        let host = target.url().trim_start_matches("http://");
        let directive = format!("@http_request {{\"url\": \"{}/slow\"}}\n", target.url());
        let config = json!({
            "instructions": directive.repeat(8), "tools": ["http_request"], "allowed_hosts": [host],
        });
        let body = json!({"name": "Slow", "type": "freeform", "config": config});
        let agent = app.post("/api/v1/agents", body).bearer(&key).send().await;
        Self {
            agent: text(&agent.expect(201)["data"]["id"]),
            token: account.prodgy_token(app).await,
            key,
            account,
        }
    }

    /// The response to the account's session.
    async fn asks(&self, app: &TestApp, method: Method, path: &str) -> TestResponse {
        let request = app.request(method, path);
        request.bearer(&self.account.access_token).send().await
    }

    /// Makes another workspace; its id.
    async fn workspace(&self, app: &TestApp, name: &str) -> String {
        let made = app.post("/api/workspaces", json!({ "name": name }));
        let made = made.bearer(&self.account.access_token).send().await;
        text(&made.expect(201)["data"]["id"])
    }

    /// Starts a run; its id.
    async fn start(&self, app: &TestApp) -> String {
        let path = format!("/api/agent-base/{}/executions", self.agent);
        let started = app.post(&path, json!({})).bearer(&self.token).send().await;
        text(&started.expect(202)["data"]["execution_id"])
    }

    async fn control(&self, app: &TestApp, run: &str, what: &str) -> u16 {
        let path = format!("/api/workflow/{run}/{what}");
        let request = app.request(Method::POST, &path).bearer(&self.token);
        request.send().await.status.as_u16()
    }

    async fn run(&self, app: &TestApp, run: &str) -> Value {
        let path = format!("/api/agent-base/{}/executions/{run}", self.agent);
        let shown = app.get(&path).bearer(&self.token).send().await;
        shown.expect(200)["data"].clone()
    }
}

/// Invites a member as `membership` says, who joins; the member's session.
async fn join(app: &TestApp, admin: &Account, email: &str, membership: Value) -> String {
    let mut invitation = membership;
    invitation["email"] = json!(email);
    let invited = app.post("/api/organization/members", invitation);
    let invited = invited.bearer(&admin.access_token).send().await.expect(201);
    let code = &invited["data"]["invitation"];
    let body =
        json!({"email": email, "password": Account::PASSWORD, "name": "Grace", "invitation": code});
    let joined = app
        .post("/api/auth/register", body)
        .send()
        .await
        .expect(201);
    text(&joined["data"]["access_token"])
}

/// Lets the job do all of its work, as though minutes passed.
async fn remove(app: &TestApp) {
    for _ in 0..3 {
        app.clock.advance(TimeDelta::minutes(4));
        let done = app.platform.invoke("DeletionsFunction", json!({})).await;
        done.unwrap_or_else(|error| panic!("the job: {error:#}"));
    }
}

fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("a text, not {value}"))
        .to_owned()
}
