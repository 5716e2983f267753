//! Deleting a workspace, or an organization with all of its own.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::Target;
use testkit::{Account, Answer, TestApp};

use super::everything::Everything;
use super::{Tenant, text};

impl Tenant {
    async fn asks(&self, app: &TestApp, method: Method, path: &str) -> Answer {
        let request = app.request(method, path).bearer(&self.account.access_token);
        request.send().await
    }

    /// Everything that a workspace can have: runs in every state, large values, versions, logs, deleted agents and tokens.
    async fn fill(&self, app: &TestApp, target: &Target) {
        let (session, token, key) = (&self.account.access_token, &self.token, &self.key);
        let large = json!({"text": "A sentence of many. ".repeat(8_000)});
        let config = json!({"instructions": "x"});
        let summary = json!({"name": "Summary", "type": "freeform", "config": config, "schedule": "0 0 1 1 *"});
        let agent = app.post("/api/v1/agents", summary).bearer(key).send().await;
        let agent = text(&agent.expect(201)["data"]["id"]);
        let path = format!("/api/v1/agents/{agent}");
        let change = json!({"config": {"instructions": "y"}});
        let patch = app.request(Method::PATCH, &path).json(change).bearer(key);
        patch.send().await.expect(200);
        for input in [json!({"text": "A sentence."}), large.clone()] {
            let body = json!({"input": input, "wait": true});
            let executions = format!("/api/agent-base/{agent}/executions");
            let done = app.post(&executions, body).bearer(token).send().await;
            assert_eq!(done.expect(200)["data"]["status"], "completed");
        }
        let signal = json!({"type": "x", "payload": large});
        let sent = app.post(&format!("{path}/signals"), signal).bearer(key);
        sent.header("idempotency-key", "once")
            .send()
            .await
            .expect(202);
        let before = target.hits().len();
        let paused = self.start(app).await;
        while target.hits().len() == before {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.control(app, &paused, "pause").await, 200);
        while self.run(app, &paused).await["status"] != "paused" {}

        let gone = app.agent(key, "x").await;
        let executions = format!("/api/agent-base/{gone}/executions");
        let run = app.post(&executions, json!({"wait": true})).bearer(token);
        run.send().await.expect(200);
        let delete = app.request(Method::DELETE, &format!("/api/v1/agents/{gone}"));
        delete.bearer(key).send().await.expect(204);

        let made = app
            .post("/api/api-tokens", json!({"name": "short"}))
            .bearer(session);
        let made = made.send().await.expect(201)["data"]["id"].clone();
        self.asks(
            app,
            Method::DELETE,
            &format!("/api/api-tokens/{}", text(&made)),
        )
        .await
        .expect(200);
        let prowpt = self.account.prowpt_key(app, &["*"]).await;
        app.get("/api/auth/me")
            .bearer(&prowpt)
            .send()
            .await
            .expect(200);
        let keys = app
            .get("/api/settings/api-keys")
            .bearer(session)
            .send()
            .await
            .expect(200);
        let id = text(&keys["items"].as_array().or(keys.as_array()).unwrap()[0]["id"]);
        let rotate = app.post(
            &format!("/api/settings/api-keys/{id}/rotate"),
            json!({"grace_seconds": 3600}),
        );
        rotate.bearer(session).send().await.expect(200);
    }
}

/// Lets the job do all of its work, as though the minutes passed.
async fn remove(app: &TestApp) {
    for _ in 0..3 {
        app.clock.advance(TimeDelta::minutes(4));
        let done = app.platform.invoke("DeletionsFunction", json!({})).await;
        done.unwrap_or_else(|error| panic!("the job: {error:#}"));
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_organization_and_everything_of_others() {
    let app = TestApp::with_own_clock().await;
    let target = Target::start().await;
    let other = Tenant::of(&app, app.register().await, &target).await;
    other.fill(&app, &target).await;
    // All that is there is another tenant's, but for what belongs to nobody.
    let others = Everything::of(&app).await;
    let ids_of_others = others.ids();

    let tenant = Tenant::of(&app, app.register().await, &target).await;
    tenant.fill(&app, &target).await;
    let second = app.post("/api/workspaces", json!({"name": "Second"}));
    let second = second.bearer(&tenant.account.access_token).send().await;
    let second = text(&second.expect(201)["data"]["id"]);
    let ids: BTreeSet<String> = Everything::of(&app).await.ids();
    let ids = ids.difference(&ids_of_others).cloned().collect();
    let there = Everything::of(&app).await.naming(&ids);
    println!("{:#?}", there.kinds());

    let path = "/api/organization?name=Analytical%20Engines";
    let deleted = tenant.asks(&app, Method::DELETE, path).await.expect(202);
    assert_eq!(
        deleted["data"]["id"],
        tenant.account.organization_id.as_str()
    );
    let _ = second;
    remove(&app).await;
    let left = Everything::of(&app).await;
    assert_eq!(left.naming(&ids).keys(), BTreeSet::new());
    let missing = others.keys();
    let missing: Vec<_> = missing.difference(&left.keys()).copied().collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[allow(unused)]
fn unused(_: Account, _: Value) {}
