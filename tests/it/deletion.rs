//! Deleting agents, workspaces and organizations: what ends with them at once, and that nothing of them is left.

mod agents;
mod everything;
mod workspaces;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::Target;
use testkit::{Account, TestApp};

const SCOPES: &[&str] = &[
    "agents:read",
    "agents:write",
    "runs:read",
    "signals:write",
    "audit_logs:read",
    "usage:read",
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
            "instructions": directive.repeat(2), "tools": ["http_request"], "allowed_hosts": [host],
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

fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("a text, not {value}"))
        .to_owned()
}
