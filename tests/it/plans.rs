//! Limits of plans: agents, and runs and tokens in a calendar month.

use chrono::{DateTime, Datelike, Months, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::ModelApi;
use testkit::{Account, TestApp, TestResponse};

const SCOPES: &[&str] = &[
    "agents:read",
    "agents:write",
    "audit_logs:read",
    "credentials:write",
    "runs:read",
    "signals:write",
    "usage:read",
];
const PLAN: &str = "/api/organization/plan";

struct Tenant {
    app: TestApp,
    account: Account,
    token: String,
    key: String,
}

impl Tenant {
    /// A tenant of a platform where all organizations have these limits.
    async fn with(limits: &[(&str, &str)]) -> Self {
        let app = TestApp::with(|options| {
            let options = local::Options {
                schedules: false,
                ..options
            };
            limits.iter().fold(options, |options, (name, limit)| {
                options.parameter(*name, *limit)
            })
        })
        .await;
        let account = app.register().await;
        let token = account.prodgy_token(&app).await;
        let key = account.agentplatform_key(&app, SCOPES).await;
        Self {
            app,
            account,
            token,
            key,
        }
    }

    async fn execute(&self, agent: &str) -> TestResponse {
        let path = format!("/api/agent-base/{agent}/executions");
        let body = json!({"input": {"text": "Go."}, "wait": true});
        let post = self.app.post(&path, body).bearer(&self.token);
        post.send().await
    }

    async fn signal(&self, agent: &str) -> TestResponse {
        let path = format!("/api/v1/agents/{agent}/signals");
        let post = self.app.post(&path, json!({"type": "x"}));
        post.bearer(&self.key).send().await
    }

    async fn get(&self, path: &str) -> Value {
        let get = self.app.get(path).bearer(&self.key);
        get.send().await.expect(200)
    }

    async fn decide(&self, limits: Value) -> TestResponse {
        let session = self.account.sign_in(&self.app).await;
        let put = self.app.request(Method::PUT, PLAN).json(limits);
        put.bearer(&session).send().await
    }

    /// Goes to the first moment of the next month, which it tells.
    fn next_month(&self) -> DateTime<Utc> {
        let now = self.app.clock.now();
        let first = now.date_naive().with_day(1).unwrap() + Months::new(1);
        let first = first.and_hms_opt(0, 0, 0).unwrap().and_utc();
        self.app.clock.advance(first - now);
        first
    }
}

#[tokio::test]
async fn as_many_agents_are_made_as_the_plan_allows() {
    let tenant = Tenant::with(&[("PlanAgents", "2")]).await;
    let Tenant { app, key, .. } = &tenant;
    let first = app.agent(key, "x").await;
    let body = json!({"name": "B", "type": "freeform", "config": {"instructions": "x"}});
    let create = || {
        let post = app.post("/api/v1/agents", body.clone()).bearer(key);
        post.header("idempotency-key", "second").send()
    };
    create().await.expect(201);
    create().await.expect(201);

    let told = app.post("/api/v1/agents", body.clone()).bearer(key);
    let told = told.send().await.expect_refused(403);
    assert!(told.contains("limit of 2 agents"), "{told}");
    let body = json!({"name": "C", "type": "freeform", "parameters": {"instructions": "x"}});
    let told = app.post("/api/agent-base", body).bearer(&tenant.token);
    assert!(told.send().await.expect_refused(403).contains("2 agents"));
    let usage = tenant.get("/api/v1/usage").await["data"].clone();
    assert_eq!(usage["plan"], "limited");
    assert_eq!(
        usage["limits"],
        json!({"agents": 2, "runs": null, "tokens": null})
    );
    assert_eq!(usage["used"]["agents"], 2);

    let delete = app.request(Method::DELETE, &format!("/api/v1/agents/{first}"));
    assert_eq!(delete.bearer(key).send().await.status, 204);
    app.agent(key, "x").await;
    // Another organization has its own.
    let stranger = app.register().await;
    let strangers = stranger.agentplatform_key(app, SCOPES).await;
    app.agent(&strangers, "x").await;
}

#[tokio::test]
async fn no_run_starts_above_the_plans_runs_until_the_next_month() {
    let tenant = Tenant::with(&[("PlanRunsPerMonth", "2")]).await;
    let agent = tenant.app.agent(&tenant.key, "x").await;
    let start = tenant.next_month();
    let execute = || {
        let path = format!("/api/agent-base/{agent}/executions");
        let post = tenant.app.post(&path, json!({"wait": true}));
        let post = post.header("idempotency-key", "first");
        post.bearer(&tenant.token).send()
    };
    execute().await.expect(200);
    tenant.signal(&agent).await.expect(202);
    let next = (start + Months::new(1)).date_naive().to_string();
    for told in [
        tenant.execute(&agent).await.expect_refused(403),
        tenant.signal(&agent).await.expect_refused(403),
    ] {
        assert!(told.contains("2 runs") && told.contains(&next), "{told}");
    }
    // What was accepted stays so.
    execute().await.expect(200);
    let runs = tenant.get(&format!("/api/v1/agents/{agent}/runs")).await;
    assert_eq!(runs["data"].as_array().unwrap().len(), 2);

    tenant.next_month();
    tenant.execute(&agent).await.expect(200);
}

#[tokio::test]
async fn a_firing_above_the_plan_is_left_out_and_said_so() {
    let tenant = Tenant::with(&[("PlanRunsPerMonth", "1")]).await;
    let Tenant { app, key, .. } = &tenant;
    tenant.next_month();
    let body = json!({"name": "Daily", "type": "freeform", "config": {"instructions": "x"}, "schedule": "0 12 * * *"});
    let made = app.post("/api/v1/agents", body).bearer(key).send().await;
    let agent = made.expect(201)["data"]["id"].as_str().unwrap().to_owned();
    let mut started = Vec::new();
    for _ in 0..3 {
        app.clock.advance(TimeDelta::days(1));
        for _ in 0..2 {
            started.push(app.tick().await["agents"].as_u64().unwrap());
            app.work_is_done().await;
        }
    }
    assert_eq!(started, [1, 0, 0, 0, 0, 0]);
    let log = tenant.get("/api/v1/audit-logs?action=run.*").await;
    let rows = log["data"].as_array().unwrap();
    let refused = rows
        .iter()
        .filter(|row| row["action"] == "run.refused_by_plan");
    let refused: Vec<&Value> = refused.collect();
    assert_eq!(refused.len(), 2, "{log}");
    assert_eq!(
        refused[0]["resource"],
        json!({"type": "agent", "id": agent})
    );

    tenant.next_month();
    app.clock.advance(TimeDelta::hours(13));
    assert_eq!(app.tick().await["agents"], 1);
}

#[tokio::test]
async fn no_run_starts_once_the_plans_tokens_are_used() {
    let tenant = Tenant::with(&[("PlanTokensPerMonth", "1500")]).await;
    let Tenant { app, key, .. } = &tenant;
    let api = ModelApi::start().await;
    let body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789", "base_url": api.url()});
    let post = app.post("/api/v1/credentials", body).bearer(key);
    post.send().await.expect(201);
    let config = json!({"instructions": "x", "model": "openai/gpt-5"});
    let body = json!({"name": "M", "type": "freeform", "config": config});
    let made = app.post("/api/v1/agents", body).bearer(key).send().await;
    let agent = made.expect(201)["data"]["id"].as_str().unwrap().to_owned();
    // Each uses 1,100.
    tenant.execute(&agent).await.expect(200);
    tenant.execute(&agent).await.expect(200);
    let told = eventually_refused(&tenant, &agent).await;
    assert!(told.contains("1500 tokens"), "{told}");
    let usage = tenant.get("/api/v1/usage").await["data"].clone();
    assert_eq!(usage["limits"]["tokens"], 1500);
    assert!(usage["used"]["tokens"].as_u64() >= Some(2200));
}

/// A run's tokens are counted right after its end, which its starter may be told of first.
async fn eventually_refused(tenant: &Tenant, agent: &str) -> String {
    for _ in 0..3 {
        let answer = tenant.execute(agent).await;
        if answer.status != 200 {
            return answer.expect_refused(403);
        }
    }
    panic!("runs went on");
}

#[tokio::test]
async fn the_operator_decides_for_one_organization() {
    let tenant = Tenant::with(&[("PlanRunsPerMonth", "1"), ("PlanAgents", "1")]).await;
    let Tenant { app, key, .. } = &tenant;
    let agent = app.agent(key, "x").await;
    tenant.execute(&agent).await.expect(200);
    tenant.execute(&agent).await.expect_refused(403);
    // An administrator is not the operator.
    tenant.decide(json!({"runs": 0})).await.expect_refused(403);

    tenant.account.make_super_admin(app).await;
    for (wrong, field) in [
        (json!({"runs": -1}), "runs"),
        (json!({"agents": "two"}), "agents"),
        (json!({"tokens": 10_000_000_000_000_000_u64}), "tokens"),
    ] {
        let told = tenant.decide(wrong).await.expect_refused(400);
        assert!(told.contains(field), "{told}");
    }
    let decided = tenant.decide(json!({"runs": 0, "agents": 2})).await;
    let decided = decided.expect(200)["data"].clone();
    assert_eq!(
        (&decided["plan"], &decided["limits"]),
        (
            &json!("limited"),
            &json!({"agents": 2, "runs": null, "tokens": null})
        )
    );
    assert_eq!(decided["runs"], 1);
    tenant.execute(&agent).await.expect(200);
    app.agent(key, "x").await;
    let body = json!({"name": "C", "type": "freeform", "config": {"instructions": "x"}});
    let third = app.post("/api/v1/agents", body).bearer(key).send().await;
    third.expect_refused(403);

    // For another one, whose members see it.
    let other = app.register().await;
    let session = tenant.account.sign_in(app).await;
    let put = app.request(Method::PUT, PLAN).json(json!({"tokens": 7}));
    let put = put.header("x-organization-id", &other.organization_id);
    put.bearer(&session).send().await.expect(200);
    let get = app.get(PLAN).bearer(&other.access_token);
    let theirs = get.send().await.expect(200)["data"].clone();
    assert_eq!(
        (&theirs["decided"], &theirs["limits"]),
        (
            &json!({"agents": null, "runs": null, "tokens": 7}),
            &json!({"agents": 1, "runs": 1, "tokens": 7})
        )
    );
    let back = tenant.decide(json!({})).await.expect(200)["data"].clone();
    assert_eq!(
        back["limits"],
        json!({"agents": 1, "runs": 1, "tokens": null})
    );
}
