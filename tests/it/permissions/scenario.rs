//! A scenario that calls every operation of the API, and what happens without being called.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use store::Store;
use testkit::fakes::{ModelApi, Target, Turn};
use testkit::{Account, TestApp, TestResponse, eventually};

use crate::template::operations;

/// A user of all of the API.
pub(super) struct Scenario {
    app: TestApp,
    called: Mutex<BTreeSet<(String, String)>>,
}

impl Scenario {
    pub(super) fn new(app: TestApp) -> Self {
        Self {
            app,
            called: Mutex::default(),
        }
    }

    pub(super) async fn play(&self) {
        let mut account = self.app.register().await;
        self.note(&Method::POST, "/api/auth/register");
        self.account(&mut account).await;
        self.organization(&account).await;
        self.tokens(&account).await;
        let credentials = Credentials::of(&self.app, &account).await;
        self.agents(&account, &credentials).await;
        self.runs(&account, &credentials).await;
        self.delegation(&credentials).await;
        self.models(&account, &credentials).await;
        self.later(&account).await;
        self.deletions().await;
        self.counted().await;
    }

    /// The tick counts the last requests, and forgets workspaces that have no more of them.
    async fn counted(&self) {
        self.app.clock.advance(TimeDelta::minutes(5));
        let told = self.app.tick().await;
        assert!(told["requests"].as_u64() >= Some(1), "{told}");
        self.app.work_is_done().await;
        self.app.tick().await;
    }

    async fn account(&self, account: &mut Account) {
        let session = |answer: &Value| text(&answer["data"]["access_token"]);
        let credentials = json!({"email": account.email, "password": Account::PASSWORD});
        let signed_in = self
            .call("", Method::POST, "/api/auth/login", credentials)
            .await;
        let refresh = json!({"refresh_token": signed_in["data"]["refresh_token"]});
        let refreshed = self
            .call("", Method::POST, "/api/auth/refresh", refresh.clone())
            .await;
        // A refresh token that comes a second time, later, ends the session.
        self.app.clock.advance(TimeDelta::minutes(1));
        self.refused(401, "", Method::POST, "/api/auth/refresh", refresh)
            .await;
        self.refused(
            401,
            &session(&refreshed),
            Method::GET,
            "/api/auth/me",
            json!({}),
        )
        .await;
        let body =
            json!({"current_password": Account::PASSWORD, "new_password": Account::PASSWORD});
        let changed = self
            .call(
                &account.access_token,
                Method::POST,
                "/api/auth/password",
                body,
            )
            .await;
        account.access_token = session(&changed);
        let other = json!({"email": account.email, "password": Account::PASSWORD});
        let other = self.call("", Method::POST, "/api/auth/login", other).await;
        self.call(
            &session(&other),
            Method::POST,
            "/api/auth/logout",
            json!({}),
        )
        .await;
        self.get(&account.access_token, "/api/auth/me").await;
        self.get("", "/healthz").await;
        for document in ["/swagger.json", "/api/v1/openapi.json"] {
            self.get("", document).await;
        }
        for page in ["/swagger", "/swagger/swagger-ui.css", "/api/v1/docs"] {
            self.note(&Method::GET, page);
            assert_eq!(self.app.get(page).send().await.status, 200, "{page}");
        }
    }

    async fn organization(&self, account: &Account) {
        let session = &account.access_token;
        self.get(session, "/api/organization").await;
        account.make_super_admin(&self.app).await;
        let plan = "/api/organization/plan";
        let limits = json!({"runs": 1000, "agents": 0});
        self.call(session, Method::PUT, plan, limits).await;
        self.get(session, plan).await;
        let renamed = json!({"name": "Engines"});
        self.call(session, Method::PATCH, "/api/organization", renamed)
            .await;
        let workspace = self
            .once(session, "/api/workspaces", json!({"name": "Second"}))
            .await;
        let workspace = text(&workspace["data"]["id"]);
        let path = format!("/api/workspaces/{workspace}");
        self.call(session, Method::PATCH, &path, json!({"name": "Other"}))
            .await;
        self.get(session, &path).await;
        self.get(session, "/api/workspaces").await;

        let members = "/api/organization/members";
        let invite =
            json!({"email": "grace@example.com", "role": "ADMIN", "workspaces": [workspace]});
        self.call(session, Method::POST, members, invite.clone())
            .await;
        let invited = self.call(session, Method::POST, members, invite).await["data"].clone();
        let join = json!({"email": "grace@example.com", "password": Account::PASSWORD, "name": "Grace", "invitation": invited["invitation"]});
        let joined = self
            .call("", Method::POST, "/api/auth/register", join)
            .await;
        let token = json!({"name": "hers", "role": "ADMIN"});
        self.call(
            &text(&joined["data"]["access_token"]),
            Method::POST,
            "/api/api-tokens",
            token,
        )
        .await;
        self.get(session, members).await;
        let member = format!("{members}/{}", text(&invited["id"]));
        self.call(session, Method::PATCH, &member, json!({"role": "USER"}))
            .await;
        self.call(session, Method::DELETE, &member, json!({})).await;
    }

    async fn tokens(&self, account: &Account) {
        let session = &account.access_token;
        let created = self
            .once(session, "/api/api-tokens", json!({"name": "CI"}))
            .await["data"]
            .clone();
        let path = format!("/api/api-tokens/{}", text(&created["id"]));
        let product = format!("/api/api-tokens/product/{}", account.workspace_id);
        for path in [&path, &product, &format!("{path}/audit-logs")] {
            self.get(session, path).await;
        }
        for path in [
            "/api/api-token/auth/validate",
            "/api/api-tokens/auth/validate",
        ] {
            self.get(&text(&created["token"]), path).await;
        }
        self.call(session, Method::PUT, &path, json!({"name": "Night build"}))
            .await;
        for (action, body) in [
            ("renew", json!({"expires_at": null})),
            ("regenerate", json!({})),
            ("revoke", json!({})),
        ] {
            self.call(session, Method::POST, &format!("{path}/{action}"), body)
                .await;
        }
        self.call(session, Method::DELETE, &path, json!({})).await;

        let keys = "/api/settings/api-keys";
        let body = json!({"name": "laptop", "scopes": ["*"]});
        let created = self.once(session, keys, body).await;
        let path = format!("{keys}/{}", text(&created["id"]));
        self.get(session, keys).await;
        self.call(session, Method::PATCH, &path, json!({"name": "desk"}))
            .await;
        let rotated = self
            .call(
                session,
                Method::POST,
                &format!("{path}/rotate"),
                Value::Null,
            )
            .await;
        let key = text(&rotated["key"]);
        self.get(&key, "/api/auth/me").await;
        // The secret of before is forgotten with the next change, or with the key.
        let grace = json!({"grace_seconds": 60});
        let rotate = format!("{path}/rotate");
        self.call(session, Method::POST, &rotate, grace).await;
        self.get(&key, "/api/auth/me").await;
        eventually("the key's requests are in the log", async || {
            let log = self.get(session, &format!("{keys}/activity")).await;
            log["total"].as_u64() >= Some(2)
        })
        .await;
        self.get(session, &format!("{keys}/activity/stats")).await;
        self.call(session, Method::DELETE, &path, json!({})).await;
    }

    async fn agents(&self, account: &Account, credentials: &Credentials) {
        let Credentials { token, key } = credentials;
        let (base, agents) = ("/api/agent-base", "/api/v1/agents");
        let body = json!({"name": "A", "type": "freeform", "parameters": {"instructions": "x"}});
        let first = self.once(token, base, body).await["data"].clone();
        let install = json!({"slug": "weather_check", "parameters": {"location": "Oslo"}});
        self.call(token, Method::POST, &format!("{base}/install"), install)
            .await;
        let path = format!("{base}/{}", text(&first["id"]));
        let product = format!("{base}/product/{}", account.workspace_id);
        self.call(
            token,
            Method::PUT,
            &path,
            json!({"parameters": {"instructions": "y"}}),
        )
        .await;
        for path in [
            base,
            &product,
            &path,
            &format!("{path}/versions"),
            &format!("{base}/catalog"),
        ] {
            self.get(token, path).await;
        }
        self.get(&account.access_token, base).await;
        self.call(token, Method::DELETE, &path, json!({})).await;

        let body = json!({"name": "B", "type": "freeform", "config": {"instructions": "x"}});
        let second = self.once(key, agents, body).await["data"].clone();
        let path = format!("{agents}/{}", text(&second["id"]));
        self.get(key, agents).await;
        self.get(key, &path).await;
        self.call(key, Method::PATCH, &path, json!({"name": "C"}))
            .await;
        for action in ["pause", "resume"] {
            self.call(key, Method::POST, &format!("{path}/{action}"), json!({}))
                .await;
        }
        self.call(key, Method::DELETE, &path, json!({})).await;
        self.get(key, "/api/v1/audit-logs?action=agent.*").await;
    }

    async fn runs(&self, account: &Account, credentials: &Credentials) {
        let Credentials { token, key } = credentials;
        let body =
            json!({"name": "W", "type": "weather_check", "config": {"location": "New York"}});
        let agent = self.call(key, Method::POST, "/api/v1/agents", body).await;
        let agent = text(&agent["data"]["id"]);
        let executions = format!("/api/agent-base/{agent}/executions");
        let done = self.once(token, &executions, json!({"wait": true})).await["data"].clone();
        assert_eq!(done["status"], "completed", "{done}");
        // A failure counts against the agent, and the next success clears the count.
        for location in ["Atlantis", "New York"] {
            let body = json!({"wait": true, "input": {"location": location}});
            self.call(token, Method::POST, &executions, body).await;
        }
        // What is too large for a table, also when the same request comes again.
        let large = json!({"location": "New York", "note": "x".repeat(110_000)});
        let body = json!({"wait": true, "input": large});
        let shown = self.twice(token, &executions, body).await["data"].clone();
        assert!(shown["input"] == large);
        let run = text(&done["id"]);
        for query in ["", "?status=failed", "?status=paused", "?from=2020-01-01"] {
            self.get(token, &format!("{executions}{query}")).await;
        }
        self.get(token, &format!("{executions}/{run}")).await;
        self.get(&account.access_token, &executions).await;
        let events = format!("/api/workflow/{run}/events");
        self.get(token, &events).await;
        self.get(&account.access_token, &events).await;

        self.get(token, &format!("/api/workflow/{run}/status"))
            .await;
        self.control(credentials).await;

        let agent = format!("/api/v1/agents/{agent}");
        let signal = json!({"type": "order.created", "payload": {"location": "New York"}});
        self.once(key, &format!("{agent}/signals"), signal.clone())
            .await;
        let signal = json!({"type": "order.created", "payload": large});
        self.twice(key, &format!("{agent}/signals"), signal).await;
        for path in [
            format!("{agent}/runs"),
            format!("{agent}/runs?status=failed"),
            format!("{agent}/messages"),
            "/api/v1/runs".to_owned(),
            format!("/api/v1/runs/{run}"),
            format!("/api/v1/runs/{run}/messages"),
        ] {
            self.get(key, &path).await;
        }
    }

    /// An agent that starts another by its name, and a briefing of what they did.
    async fn delegation(&self, credentials: &Credentials) {
        let Credentials { token, key } = credentials;
        let directive = "@trigger_agent {\"agent\": \"Summary\", \"wait\": true}\n@get_activity {}";
        let tools = ["trigger_agent", "get_activity"];
        for (name, config) in [
            ("Summary", json!({"instructions": "x"})),
            (
                "Chief",
                json!({"instructions": directive, "tools": tools, "allowed_agents": "*"}),
            ),
        ] {
            let body = json!({"name": name, "type": "freeform", "config": config});
            let agent = self.call(key, Method::POST, "/api/v1/agents", body).await;
            let agent = text(&agent["data"]["id"]);
            let executions = format!("/api/agent-base/{agent}/executions");
            let done = self
                .call(token, Method::POST, &executions, json!({"wait": true}))
                .await;
            let output = done["data"]["output"]["text"].to_string();
            assert!(
                name == "Summary" || output.contains("is completed"),
                "{done}"
            );
        }
    }

    /// An execution that is paused when its first call is back, goes on and is stopped.
    async fn control(&self, credentials: &Credentials) {
        let Credentials { token, key } = credentials;
        let target = Target::start().await;
        let host = target.url().trim_start_matches("http://");
        let directive = format!("@http_request {{\"url\": \"{}/slow\"}}\n", target.url());
        let config = json!({
            "instructions": directive.repeat(2), "tools": ["http_request"], "allowed_hosts": [host],
        });
        let body = json!({"name": "Slower", "type": "freeform", "config": config});
        let agent = self.call(key, Method::POST, "/api/v1/agents", body).await;
        let path = format!("/api/agent-base/{}/executions", text(&agent["data"]["id"]));
        let run = self.call(token, Method::POST, &path, json!({})).await;
        let run = text(&run["data"]["execution_id"]);
        eventually("the run is at work", async || !target.hits().is_empty()).await;
        for what in ["pause", "continue", "stop"] {
            let path = format!("/api/workflow/{run}/{what}");
            self.call(token, Method::POST, &path, json!({})).await;
        }
    }

    async fn models(&self, account: &Account, credentials: &Credentials) {
        let Credentials { token, key } = credentials;
        let provider = ModelApi::start().await;
        let path = "/api/v1/credentials";
        let body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789", "base_url": provider.url()});
        let credential = self.once(key, path, body).await;
        let id = text(&credential["data"]["id"]);
        let config = json!({"instructions": "x", "model": "openai/gpt-5"});
        for config in [
            config.clone(),
            json!({"instructions": "x", "model": "openai/gpt-5", "credential_id": id}),
        ] {
            let body = json!({"name": "M", "type": "freeform", "config": config});
            let agent = self.call(key, Method::POST, "/api/v1/agents", body).await;
            let agent = text(&agent["data"]["id"]);
            let executions = format!("/api/agent-base/{agent}/executions");
            let done = self.call(token, Method::POST, &executions, json!({"wait": true}));
            assert_eq!(done.await["data"]["output"]["text"], "Done.");
            self.get(key, &format!("/api/v1/usage?agent_id={agent}"))
                .await;
        }
        // An answer that is shown while it comes, and is too large for a table.
        let piece = Duration::from_millis(10);
        provider.play([Turn::Trickling(piece, "More of it. ".repeat(10_000))]);
        let body = json!({"name": "M", "type": "freeform", "config": config});
        let agent = self.call(key, Method::POST, "/api/v1/agents", body).await;
        let executions = format!("/api/agent-base/{}/executions", text(&agent["data"]["id"]));
        let done = self.call(token, Method::POST, &executions, json!({"wait": true}));
        let run = text(&done.await["data"]["id"]);
        let events = format!("/api/workflow/{run}/events");
        self.get(token, &events).await;
        self.get(key, "/api/v1/usage").await;
        self.get(key, path).await;
        let body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789", "scope": "organization", "default": true});
        let for_all = self.call(key, Method::POST, path, body).await;
        let default = format!("{path}/{}/default", text(&for_all["data"]["id"]));
        for method in [Method::DELETE, Method::POST] {
            self.call(key, method, &default, Value::Null).await;
        }
        let workspaces = [account.workspace_id.as_str()];
        let user = account.colleague(&self.app, "USER", &workspaces).await;
        let scopes = ["credentials:read", "usage:read"];
        let users = user.agentplatform_key(&self.app, &scopes).await;
        self.get(&users, path).await;
        self.get(&users, "/api/v1/usage").await;
        let path = format!("{path}/{id}");
        self.get(key, &path).await;
        let revoke = format!("{path}/revoke");
        self.call(key, Method::POST, &revoke, json!({})).await;
    }

    /// The effects of time that passes: tokens that have run out, runs that were lost, a schedule that is due, and the
    /// message of a run that no worker could process.
    async fn later(&self, account: &Account) {
        let session = &account.access_token;
        let tomorrow = (self.app.clock.now() + TimeDelta::days(1)).to_rfc3339();
        let mut expiring = Vec::new();
        for name in ["agents", "executions", "tokens", "tick", "events"] {
            let body = json!({"name": name, "expires_at": tomorrow});
            let created = self
                .call(session, Method::POST, "/api/api-tokens", body)
                .await;
            expiring.push(text(&created["data"]["token"]));
        }
        let keys = "/api/settings/api-keys";
        let body = json!({"name": "identity", "scopes": ["*"], "expires_at": tomorrow});
        let prowpt = self.call(session, Method::POST, keys, body).await;
        let body = json!({"name": "triggers", "kind": "agentplatform", "scopes": ["signals:write"], "expires_in": "30d"});
        let agentplatform = self.call(session, Method::POST, keys, body).await;
        let body = json!({"name": "integrations", "kind": "agentplatform", "scopes": ["credentials:read"], "expires_in": "30d"});
        let credentials = self.call(session, Method::POST, keys, body).await;
        let body = json!({"name": "usage", "kind": "agentplatform", "scopes": ["usage:read"], "expires_in": "30d"});
        let usage = self.call(session, Method::POST, keys, body).await;

        let target = Target::start().await;
        let host = target.url().trim_start_matches("http://");
        let Credentials { token, key } = &Credentials::of(&self.app, account).await;
        let config = json!({
            "instructions": format!("@http_request {{\"method\": \"GET\", \"url\": \"{}/held\"}}", target.url()),
            "tools": ["http_request"], "allowed_hosts": [host],
        });
        let body =
            json!({"name": "Slow", "type": "freeform", "config": config, "schedule": "0 * * * *"});
        let agent = self.call(key, Method::POST, "/api/v1/agents", body).await;
        let agent = text(&agent["data"]["id"]);
        let executions = format!("/api/agent-base/{agent}/executions");
        target.hold();
        let mut crowd = Vec::new();
        for _ in 0..3 {
            let run = self.call(token, Method::POST, &executions, json!({})).await;
            crowd.push(text(&run["data"]["execution_id"]));
        }
        eventually("two runs have a place", async || target.hits().len() == 2).await;
        target.release();
        eventually("the run that waits for a place gets one", async || {
            let path = format!("{executions}/{}", crowd[2]);
            self.get(token, &path).await["data"]["status"] == "completed"
        })
        .await;
        target.hold();
        let mut runs = Vec::new();
        for _ in 0..2 {
            let run = self.call(token, Method::POST, &executions, json!({})).await;
            runs.push(text(&run["data"]["execution_id"]));
        }
        eventually("both runs are at work", async || target.hits().len() == 5).await;

        // The leases of both runs have run out, as though their workers were gone.
        self.app.clock.advance(TimeDelta::days(31));
        let failed = async |run: &str| {
            let path = format!("{executions}/{run}");
            let shown = self.get(token, &path).await["data"].clone();
            shown["status"] == "failed" && shown["error"].to_string().contains("gave up")
        };
        self.send_dead_letter(account, &runs[0]).await;
        eventually("the dead letter's run ends", async || {
            failed(&runs[0]).await
        })
        .await;

        for (credential, method, path) in [
            (&expiring[0], Method::GET, "/api/agent-base".to_owned()),
            (&expiring[1], Method::GET, executions.clone()),
            (
                &expiring[4],
                Method::GET,
                format!("/api/workflow/{}/events", runs[0]),
            ),
            (
                &expiring[2],
                Method::GET,
                "/api/api-token/auth/validate".to_owned(),
            ),
            (
                &text(&prowpt["key"]),
                Method::GET,
                "/api/auth/me".to_owned(),
            ),
            (
                &text(&agentplatform["key"]),
                Method::POST,
                format!("/api/v1/agents/{agent}/signals"),
            ),
            (
                &text(&credentials["key"]),
                Method::GET,
                "/api/v1/credentials".to_owned(),
            ),
            (
                &text(&usage["key"]),
                Method::GET,
                "/api/v1/usage".to_owned(),
            ),
        ] {
            self.refused(401, credential, method, &path, json!({"type": "x"}))
                .await;
        }
        let told = self.app.tick().await;
        let did = |what: &str| told[what].as_u64() >= Some(1);
        assert!(did("runs") && did("agents") && did("tokens"), "{told}");
        target.release();
        eventually("the lost run goes on elsewhere", async || {
            let path = format!("{executions}/{}", runs[1]);
            self.get(token, &path).await["data"]["status"] == "completed"
        })
        .await;
    }

    /// Agents, workspaces and an organization are deleted with runs under way, and the job removes what is left of them and a run
    /// past its retention.
    async fn deletions(&self) {
        let account = self.app.register().await;
        let session = &account.access_token;
        let second = self
            .call(
                session,
                Method::POST,
                "/api/workspaces",
                json!({"name": "Second"}),
            )
            .await;
        let workspace = format!("/api/workspaces/{}", text(&second["data"]["id"]));
        let credentials = Credentials::of(&self.app, &account).await;
        let run = self.paused(&credentials).await;
        let shown = self
            .get(&credentials.key, &format!("/api/v1/runs/{run}"))
            .await;
        let agent = format!("/api/v1/agents/{}", text(&shown["data"]["agent_id"]));
        self.call(&credentials.key, Method::DELETE, &agent, json!({}))
            .await;
        self.paused(&credentials).await;
        let first = format!("/api/workspaces/{}?name=Default", account.workspace_id);
        self.call(session, Method::DELETE, &first, json!({})).await;
        self.get(session, &workspace).await;
        let credentials = Credentials::of(&self.app, &account).await;
        self.paused(&credentials).await;
        self.remove().await;
        let organization = "/api/organization?name=Analytical%20Engines";
        self.call(session, Method::DELETE, organization, json!({}))
            .await;

        // The function of the request has died right after it was accepted: the job ends what the request should have.
        let account = self.app.register().await;
        let credentials = Credentials::of(&self.app, &account).await;
        self.paused(&credentials).await;
        let store = Store::new(&self.app.platform.services());
        let id = account.organization_id.parse().unwrap();
        let organization = store.organization(id).await.unwrap().unwrap();
        let now = self.app.clock.now();
        let deleted = store.delete_organization(&organization, None, now).await;
        deleted.unwrap();
        self.app.clock.advance(TimeDelta::days(400));
        self.remove().await;
    }

    /// Lets the deletions' job do all of its work, as though minutes passed.
    async fn remove(&self) {
        for _ in 0..3 {
            self.app.clock.advance(TimeDelta::minutes(5));
            let job = self.app.platform.invoke("DeletionsFunction", json!({}));
            job.await
                .unwrap_or_else(|error| panic!("the job: {error:#}"));
        }
    }

    /// An execution that is paused after a reply that is too large for a table; its id.
    async fn paused(&self, credentials: &Credentials) -> String {
        let Credentials { token, key } = credentials;
        let target = Target::start().await;
        let host = target.url().trim_start_matches("http://");
        let directive = format!(
            "@http_request {{\"url\": \"{}/slow/large\"}}\n",
            target.url()
        );
        let config = json!({
            "instructions": directive.repeat(2), "tools": ["http_request"], "allowed_hosts": [host],
        });
        let body = json!({"name": "Paused", "type": "freeform", "config": config, "schedule": "0 * * * *"});
        let agent = self.call(key, Method::POST, "/api/v1/agents", body).await;
        let path = format!("/api/agent-base/{}/executions", text(&agent["data"]["id"]));
        let run = self.call(token, Method::POST, &path, json!({})).await;
        let run = text(&run["data"]["execution_id"]);
        eventually("the run is at work", async || !target.hits().is_empty()).await;
        let pause = format!("/api/workflow/{run}/pause");
        self.call(token, Method::POST, &pause, json!({})).await;
        let status = format!("/api/workflow/{run}/status");
        eventually("the run is paused", async || {
            self.get(token, &status).await["data"]["status"] == "paused"
        })
        .await;
        run
    }

    async fn send_dead_letter(&self, account: &Account, run: &str) {
        let queues = &self.app.platform.deployment().queues;
        let queue = queues
            .iter()
            .find(|queue| queue.logical_id == "RunDeadLetterQueue")
            .unwrap();
        let message = json!({
            "type": "run.advance.v1",
            "organization_id": account.organization_id,
            "workspace_id": account.workspace_id,
            "run_id": run,
        });
        let sqs = self.app.platform.services().sqs;
        let send = sqs
            .send_message()
            .queue_url(&queue.url)
            .message_body(message.to_string());
        send.send().await.unwrap();
    }

    async fn get(&self, credential: &str, path: &str) -> Value {
        self.call(credential, Method::GET, path, Value::Null).await
    }

    /// Sends a request with an idempotency key that a refused request has used before, sends it again, and once more when
    /// its answer was lost: then the function finds what it has done.
    async fn once(&self, credential: &str, path: &str, body: Value) -> Value {
        self.note(&Method::POST, path);
        let refused = self
            .send(credential, path, "once", json!("no object"))
            .await;
        assert!(refused.status.is_client_error(), "{path}: {}", refused.text);
        for replayed in ["", "true"] {
            let answer = self.send(credential, path, "once", body.clone()).await;
            assert!(answer.status.is_success(), "{path}: {}", answer.text);
            assert_eq!(answer.header("idempotent-replayed"), replayed, "{path}");
        }
        self.app.lose_answers().await;
        let again = self.send(credential, path, "once", body).await;
        assert!(again.status.is_success(), "{path}: {}", again.text);
        assert_eq!(again.header("idempotent-replayed"), "", "{path}");
        again.body
    }

    /// Sends a request, and again when its answer was lost.
    async fn twice(&self, credential: &str, path: &str, body: Value) -> Value {
        self.send(credential, path, "twice", body.clone()).await;
        self.app.lose_answers().await;
        let again = self.send(credential, path, "twice", body).await;
        assert!(again.status.is_success(), "{path}: {}", again.text);
        again.body
    }

    async fn send(&self, credential: &str, path: &str, key: &str, body: Value) -> TestResponse {
        let request = self.app.post(path, body).bearer(credential);
        request.header("idempotency-key", key).send().await
    }

    async fn call(&self, credential: &str, method: Method, path: &str, body: Value) -> Value {
        self.note(&method, path);
        let mut request = self.app.request(method.clone(), path);
        if !credential.is_empty() {
            request = request.bearer(credential);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await;
        assert!(
            answer.status.is_success(),
            "{method} {path}: {}",
            answer.text
        );
        answer.body
    }

    async fn refused(
        &self,
        status: u16,
        credential: &str,
        method: Method,
        path: &str,
        body: Value,
    ) {
        let mut request = self.app.request(method, path).json(body);
        if !credential.is_empty() {
            request = request.bearer(credential);
        }
        request.send().await.expect_refused(status);
    }

    fn note(&self, method: &Method, path: &str) {
        let path = path.split('?').next().unwrap_or_default();
        let call = (method.to_string(), path.to_owned());
        self.called.lock().unwrap().insert(call);
    }

    pub(super) fn assert_every_operation_was_called(&self) {
        let called = self.called.lock().unwrap();
        let is_of = |path: &str, pattern: &str| {
            let (path, pattern) = (path.split('/'), pattern.split('/'));
            let same = |(part, wanted): (&str, &str)| wanted.starts_with('{') || part == wanted;
            path.clone().count() == pattern.clone().count() && path.zip(pattern).all(same)
        };
        for (_, operations) in operations() {
            for (method, pattern) in operations {
                let found = called
                    .iter()
                    .any(|(verb, path)| *verb == method && is_of(path, &pattern));
                assert!(found, "{method} {pattern} was not called");
            }
        }
    }
}

struct Credentials {
    /// Prodgy's.
    token: String,
    /// AgentPlatform's.
    key: String,
}

impl Credentials {
    async fn of(app: &TestApp, account: &Account) -> Self {
        let scopes = [
            "agents:read",
            "agents:write",
            "runs:read",
            "signals:write",
            "audit_logs:read",
            "credentials:read",
            "credentials:write",
            "usage:read",
        ];
        Self {
            token: account.prodgy_token(app).await,
            key: account.agentplatform_key(app, &scopes).await,
        }
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text, not {value}"))
        .to_owned()
}
