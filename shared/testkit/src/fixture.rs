//! The platform with one account, ready to run agents.

use local::Options;
use serde_json::{Value, json};

use crate::fakes::{ModelApi, OpenMeteo, Target};
use crate::{Account, TestApp, TestResponse, eventually_some};

/// The scopes of [`Fixture::key`].
const SCOPES: [&str; 7] = [
    "agents:read",
    "agents:write",
    "runs:read",
    "signals:write",
    "credentials:read",
    "credentials:write",
    "usage:read",
];

/// A running platform, an account with a token and a key, and the systems of other people that its agents may ask.
pub struct Fixture {
    pub app: TestApp,
    pub account: Account,
    /// A Prodgy token.
    pub token: String,
    /// An AgentPlatform key for agents, runs, signals, credentials and usage.
    pub key: String,
    /// A model provider, which agents ask once [`Fixture::store_credential`] has stored a key for it.
    pub models: ModelApi,
    /// A server that `http_request` may ask.
    pub target: Target,
    _weather: OpenMeteo,
}

impl Fixture {
    /// The secret of all credentials that a fixture stores.
    pub const SECRET: &str = "sk-planted-0123456789-abcd";

    pub async fn start() -> Self {
        Self::with(|options| options).await
    }

    /// A fixture whose platform has changed options.
    pub async fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let (models, weather) = (ModelApi::start().await, OpenMeteo::start().await);
        let app = TestApp::with(|options| {
            let options = options
                .parameter("OpenMeteoGeocodingUrl", weather.url())
                .parameter("OpenMeteoForecastUrl", weather.url())
                .parameter("BedrockEndpointUrl", models.url());
            change(options)
        })
        .await;
        let account = app.register().await;
        Self {
            token: account.prodgy_token(&app).await,
            key: account.agentplatform_key(&app, &SCOPES).await,
            target: Target::start().await,
            app,
            account,
            models,
            _weather: weather,
        }
    }

    /// Stores a credential for the provider, which answers at [`Fixture::models`]; its id.
    pub async fn store_credential(&self, provider: &str) -> String {
        let body = json!({"name": "x", "provider": provider, "secret": Self::SECRET, "base_url": self.models.url()});
        let post = self.app.post("/api/v1/credentials", body);
        let created = post.bearer(&self.key).send().await.expect(201);
        text(&created["data"]["id"])
    }

    /// A freeform agent; its id.
    pub async fn agent(&self, config: Value) -> String {
        self.agent_of("Agent", "freeform", config).await
    }

    /// An agent of this name and type; its id.
    pub async fn agent_of(&self, name: &str, kind: &str, config: Value) -> String {
        let body = json!({"name": name, "type": kind, "config": config});
        let post = self.app.post("/api/v1/agents", body);
        let created = post.bearer(&self.key).send().await.expect(201);
        text(&created["data"]["id"])
    }

    /// The configuration of an agent that sends requests to [`Fixture::target`], by itself, one after the other.
    pub fn requests(&self, method: &str, paths: &[&str]) -> Value {
        let directive = |path: &&str| {
            let url = format!("{}{path}", self.target.url());
            let request = json!({"method": method, "url": url, "timeout_seconds": 20});
            format!("@http_request {request}")
        };
        let instructions = paths.iter().map(directive).collect::<Vec<_>>().join("\n");
        json!({"instructions": instructions, "tools": ["http_request"], "allowed_hosts": [self.target_host()]})
    }

    /// The host of [`Fixture::target`], as `allowed_hosts` names it.
    pub fn target_host(&self) -> &str {
        self.target.url().trim_start_matches("http://")
    }

    /// Asks for a run of an agent.
    pub async fn execute(&self, agent: &str, body: Value) -> TestResponse {
        let path = format!("/api/agent-base/{agent}/executions");
        let post = self.app.post(&path, body);
        post.bearer(&self.token).send().await
    }

    /// Starts a run of an agent; its id.
    pub async fn start_run(&self, agent: &str, input: Value) -> String {
        let started = self.execute(agent, json!({"input": input})).await;
        text(&started.expect(202)["data"]["execution_id"])
    }

    /// Runs an agent and waits for the answer to the one request; the run as Prodgy shows it.
    pub async fn run_to_end(&self, agent: &str, input: Value) -> Value {
        let body = json!({"input": input, "wait": true});
        self.execute(agent, body).await.expect(200)["data"].clone()
    }

    /// Sends an agent a signal; the id of the run that it starts.
    pub async fn signal(&self, agent: &str) -> String {
        let path = format!("/api/v1/agents/{agent}/signals");
        let post = self.app.post(&path, json!({"type": "go"}));
        let sent = post.bearer(&self.key).send().await.expect(202);
        text(&sent["data"]["run_id"])
    }

    /// Asks for a path, with the credential that its dialect takes.
    pub async fn get(&self, path: &str) -> TestResponse {
        let credential = if path.starts_with("/api/v1") {
            &self.key
        } else {
            &self.token
        };
        self.app.get(path).bearer(credential).send().await
    }

    /// The data at a path.
    pub async fn data(&self, path: &str) -> Value {
        self.get(path).await.expect(200)["data"].clone()
    }

    /// A run as AgentPlatform shows it.
    pub async fn run(&self, id: &str) -> Value {
        self.data(&format!("/api/v1/runs/{id}")).await
    }

    /// A run as AgentPlatform shows it, once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let ended = async || {
            let run = self.run(id).await;
            ["completed", "failed", "cancelled"]
                .contains(&run["status"].as_str()?)
                .then_some(run)
        };
        eventually_some("the end of the run", ended).await
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
