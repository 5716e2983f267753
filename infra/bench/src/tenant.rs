//! An organization to measure with, and what it asks of a platform.

use anyhow::{Context, ensure};
use domain::access::AGENTPLATFORM_SCOPES;
use reqwest::Method;
use serde_json::{Value, json};

/// The number of agents in the list.
const AGENTS: usize = 50;

/// A request, and the status that it should be answered with.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) credential: String,
    pub(super) body: Option<Value>,
    pub(super) expected: u16,
}

/// An organization with some agents.
#[derive(Clone)]
pub(super) struct Tenant {
    http: reqwest::Client,
    url: String,
    pub(super) session: String,
    pub(super) prodgy: String,
    pub(super) prowpt: String,
    pub(super) agentplatform: String,
    pub(super) agent: String,
    pub(super) workspace: String,
    pub(super) organization: String,
}

impl Tenant {
    pub(super) async fn found(url: &str) -> anyhow::Result<Self> {
        Self::found_as(url, "bench@signalbox.example").await
    }

    pub(super) async fn found_as(url: &str, email: &str) -> anyhow::Result<Self> {
        let mut tenant = Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            url: url.to_owned(),
            session: String::new(),
            prodgy: String::new(),
            prowpt: String::new(),
            agentplatform: String::new(),
            agent: String::new(),
            workspace: String::new(),
            organization: String::new(),
        };
        let account = json!({"email": email, "password": "Bench-horse-7", "name": "Bench"});
        let registered = tenant.post("/api/auth/register", "", account).await?;
        tenant.session = text(&registered, "/data/access_token")?;
        tenant.workspace = text(&registered, "/data/workspace/id")?;
        tenant.organization = text(&registered, "/data/organization/id")?;
        let token = json!({"name": "bench"});
        let token = tenant
            .post("/api/api-tokens", &tenant.session, token)
            .await?;
        tenant.prodgy = text(&token, "/data/token")?;
        let key = json!({"name": "bench", "kind": "agentplatform", "scopes": AGENTPLATFORM_SCOPES});
        let key = tenant
            .post("/api/settings/api-keys", &tenant.session, key)
            .await?;
        tenant.agentplatform = text(&key, "/key")?;
        let key = json!({"name": "bench", "kind": "prowpt", "scopes": ["*"]});
        let key = tenant
            .post("/api/settings/api-keys", &tenant.session, key)
            .await?;
        tenant.prowpt = text(&key, "/key")?;
        for _ in 0..AGENTS {
            let agent = tenant.send(&tenant.create()).await?;
            tenant.agent = text(&agent, "/data/id")?;
        }
        Ok(tenant)
    }

    /// Reads one agent, as Prodgy.
    pub(super) fn get(&self) -> Request {
        let path = format!("/api/agent-base/{}", self.agent);
        self.request("Prodgy: get an agent", Method::GET, path, None, 200)
    }

    /// Lists the first agents, as Prodgy.
    pub(super) fn list(&self) -> Request {
        let path = "/api/agent-base?limit=20".to_owned();
        self.request("Prodgy: list 20 agents", Method::GET, path, None, 200)
    }

    /// Creates an agent, as Prodgy.
    pub(super) fn create(&self) -> Request {
        let path = "/api/agent-base/install".to_owned();
        let body = json!({
            "slug": "freeform",
            "name": "Reader",
            "parameters": {"instructions": "Sum it up."},
        });
        self.request(
            "Prodgy: create an agent",
            Method::POST,
            path,
            Some(body),
            201,
        )
    }

    /// Reads one agent with its status, as AgentPlatform.
    pub(super) fn get_with_status(&self) -> Request {
        let path = format!("/api/v1/agents/{}", self.agent);
        Request {
            credential: self.agentplatform.clone(),
            ..self.request("AgentPlatform: get an agent", Method::GET, path, None, 200)
        }
    }

    /// Lists the first agents with their status, as AgentPlatform, which has no total.
    pub(super) fn list_by_cursor(&self) -> Request {
        let path = "/api/v1/agents?limit=20".to_owned();
        let name = "AgentPlatform: list 20 agents";
        Request {
            credential: self.agentplatform.clone(),
            ..self.request(name, Method::GET, path, None, 200)
        }
    }

    /// Creates an agent, as AgentPlatform.
    pub(super) fn create_typed(&self) -> Request {
        let path = "/api/v1/agents".to_owned();
        let body = json!({
            "type": "freeform",
            "name": "Reader",
            "config": {"instructions": "Sum it up."},
        });
        let name = "AgentPlatform: create an agent";
        Request {
            credential: self.agentplatform.clone(),
            ..self.request(name, Method::POST, path, Some(body), 201)
        }
    }

    /// Reads the account of a key, as Prowpt.
    pub(super) fn me(&self) -> Request {
        let path = "/api/auth/me".to_owned();
        Request {
            credential: self.prowpt.clone(),
            ..self.request("Prowpt: get the account", Method::GET, path, None, 200)
        }
    }

    /// Lists the keys of a workspace, as Prowpt, with a session: keys may not list keys.
    pub(super) fn keys(&self) -> Request {
        let path = "/api/settings/api-keys?limit=20".to_owned();
        Request {
            credential: self.session.clone(),
            ..self.request("Prowpt: list keys", Method::GET, path, None, 200)
        }
    }

    /// Creates an agent of this configuration.
    pub(super) fn create_with(&self, parameters: Value) -> Request {
        let body = json!({"slug": "freeform", "name": "Caller", "parameters": parameters});
        Request {
            body: Some(body),
            ..self.create()
        }
    }

    /// Starts an execution and does not wait for it.
    pub(super) fn execute(&self) -> Request {
        let path = format!("/api/agent-base/{}/executions", self.agent);
        let body = json!({"input": {"text": "It rained."}});
        self.request("start execution", Method::POST, path, Some(body), 202)
    }

    /// Sends the agent a signal.
    pub(super) fn signal(&self, payload: Value) -> Request {
        let path = format!("/api/v1/agents/{}/signals", self.agent);
        let body = json!({"type": "bench", "payload": payload});
        Request {
            credential: self.agentplatform.clone(),
            ..self.request("send signal", Method::POST, path, Some(body), 202)
        }
    }

    /// Watches an execution.
    pub(super) async fn events(&self, execution: &str) -> anyhow::Result<reqwest::Response> {
        let url = format!("{}/api/workflow/{execution}/events", self.url);
        let response = self.http.get(url).bearer_auth(&self.prodgy).send().await?;
        Ok(response.error_for_status()?)
    }

    /// Reads a run.
    pub(super) fn run(&self, id: &str) -> Request {
        Request {
            credential: self.agentplatform.clone(),
            ..self.request(
                "get run",
                Method::GET,
                format!("/api/v1/runs/{id}"),
                None,
                200,
            )
        }
    }

    fn request(
        &self,
        name: &'static str,
        method: Method,
        path: String,
        body: Option<Value>,
        expected: u16,
    ) -> Request {
        Request {
            name,
            method,
            path,
            credential: self.prodgy.clone(),
            body,
            expected,
        }
    }

    async fn post(&self, path: &str, credential: &str, body: Value) -> anyhow::Result<Value> {
        let request = self.request("set up", Method::POST, path.to_owned(), Some(body), 201);
        let credential = credential.to_owned();
        self.send(&Request {
            credential,
            ..request
        })
        .await
    }

    /// Sends a request and checks that it was answered as it should.
    pub(super) async fn send(&self, request: &Request) -> anyhow::Result<Value> {
        let Request { method, path, .. } = request;
        let mut asked = self
            .http
            .request(method.clone(), format!("{}{path}", self.url));
        if !request.credential.is_empty() {
            asked = asked.bearer_auth(&request.credential);
        }
        if let Some(body) = &request.body {
            asked = asked.json(body);
        }
        let answer = asked.send().await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        ensure!(
            status == request.expected,
            "{method} {path} answered {status}: {}",
            String::from_utf8_lossy(&body)
        );
        serde_json::from_slice(&body).with_context(|| format!("{method} {path}"))
    }
}

/// A text of an answer.
pub(super) fn text(answer: &Value, pointer: &str) -> anyhow::Result<String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    let found = found.with_context(|| format!("there is no {pointer} in {answer}"))?;
    Ok(found.to_owned())
}
