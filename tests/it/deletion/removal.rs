//! The removal of deletions: everything of what was deleted, nothing of others, wherever it is interrupted.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;
use testkit::fakes::Target;
use testkit::{Calls, DynamoDbFaults, Fault, TestApp, eventually, in_this_process};

use super::everything::Everything;
use super::{Tenant, join, remove, text};
use crate::stored::{plant, records};

impl Tenant {
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
        eventually("a request", async || target.hits().len() > before).await;
        assert_eq!(self.control(app, &paused, "pause").await, 200);
        let is_paused = async || self.run(app, &paused).await["status"] == "paused";
        eventually("a pause", is_paused).await;

        for scope in ["workspace", "organization"] {
            let credential = json!({
                "name": "x", "provider": "openai", "secret": "sk-0123456789",
                "scope": scope, "default": scope == "organization",
            });
            let credential = app.post("/api/v1/credentials", credential).bearer(key);
            credential.send().await.expect(201);
        }
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

/// The kinds of items that a tenant has, as [`Everything::kinds`] tells them. A new one belongs into `store::removal`, and here.
const KINDS: [&str; 27] = [
    "email email",
    "invitation invitation",
    "organization credential",
    "organization default_credentials",
    "organization member",
    "organization organization",
    "organization plan",
    "organization token",
    "organization usage",
    "organization workspace",
    "organization token audit",
    "token_hash token",
    "user token",
    "user user",
    "v",
    "workspace activity",
    "workspace activity_count",
    "workspace agent",
    "workspace agent usage",
    "workspace agent_status",
    "workspace agent_version",
    "workspace audit",
    "workspace own_credential openai",
    "workspace run",
    "workspace run head",
    "workspace run input",
    "workspace token_place",
];

#[tokio::test]
async fn nothing_is_left_of_a_deleted_organization_and_everything_of_others() {
    let faults = DynamoDbFaults::default();
    let proxy = faults.proxy();
    let app = TestApp::with(|options| local::Options {
        dynamodb_proxy: Some(proxy),
        schedules: false,
        ..in_this_process(options)
    })
    .await;
    let target = Target::start().await;
    let other = Tenant::of(&app, app.register().await, &target).await;
    other.fill(&app, &target).await;
    remove(&app).await;
    let others = Everything::of(&app).await;

    let tenant = Tenant::of(&app, app.register().await, &target).await;
    tenant.fill(&app, &target).await;
    tenant.workspace(&app, "Second").await;
    join(
        &app,
        &tenant.account,
        "colleague@example.com",
        json!({"role": "ADMIN"}),
    )
    .await;
    let invitation = json!({"email": "invited@example.com", "role": "USER"});
    let invitation = app.post("/api/organization/members", invitation);
    let invitation = invitation.bearer(&tenant.account.access_token);
    invitation.send().await.expect(201);
    app.count_settled_requests().await;
    let all = Everything::of(&app).await;
    let ids: BTreeSet<String> = all.ids().difference(&others.ids()).cloned().collect();
    let kinds = all.naming(&ids).kinds();
    for kind in KINDS {
        assert!(kinds.contains(kind), "there is no {kind}: {kinds:?}");
    }

    // Rows that cannot be read neither stop the job nor stay.
    let organization = ids.iter().find(|id| {
        let mut keys = all.keys().into_iter();
        keys.any(|key| format!("{key:?}").contains(&format!("organization#{id}#token")))
    });
    let organization = organization.expect("the organization's tokens");
    for kind in ["token", "member", "workspace"] {
        let mut rows = records(&app, kind).await.into_iter();
        let partition = format!("organization#{organization}#{kind}");
        let mut row = rows
            .find(|row| row["PK"].as_s().unwrap() == &partition)
            .unwrap();
        if kind != "workspace" {
            let id = "0190f5a0-b1c2-7d3e-8f4a-5b6c7d8e9f00".to_owned();
            row.insert("SK".to_owned(), AttributeValue::S(id));
        }
        plant(&app, row, "{").await;
    }

    let path = "/api/organization?name=Analytical%20Engines";
    tenant.asks(&app, Method::DELETE, path).await.expect(202);
    // Whatever call of the job is its last one, another goes on from there.
    for calls in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
        app.clock.advance(TimeDelta::minutes(2));
        let by_job = Calls::default().by("DeletionsFunction");
        let killed = faults.inject_after(calls, Fault::Throttled, by_job, usize::MAX);
        let _ = app.platform.invoke("DeletionsFunction", json!({})).await;
        assert!(killed.met() > 0, "the job was done before its call {calls}");
        faults.clear();
    }
    app.clock.advance(TimeDelta::minutes(2));
    remove(&app).await;
    let left = Everything::of(&app).await;
    assert_eq!(left.naming(&ids).keys(), BTreeSet::new());
    let missing: Vec<_> = others.keys().difference(&left.keys()).copied().collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[tokio::test]
async fn a_deleted_workspace_takes_nothing_of_the_others_with_it() {
    let app = TestApp::with_own_clock().await;
    let target = Target::start().await;
    let tenant = Tenant::of(&app, app.register().await, &target).await;
    let kept = Everything::of(&app).await;
    let second = tenant.workspace(&app, "Second").await;
    let session = &tenant.account.access_token;
    let product = json!({"name": "test", "product_id": second});
    let token = app.post("/api/api-tokens", product.clone()).bearer(session);
    let token = text(&token.send().await.expect(201)["data"]["token"]);
    let key = json!({"name": "test", "product_id": second, "kind": "agentplatform", "scopes": ["agents:write"]});
    let key = app
        .post(&format!("/api/settings/api-keys?product_id={second}"), key)
        .bearer(session);
    let key = text(&key.send().await.expect(201)["key"]);
    let in_second = Tenant {
        agent: app.agent(&key, "x").await,
        token,
        key,
        account: tenant.account.clone(),
    };
    in_second.start(&app).await;
    let path = format!("/api/workspaces/{second}?name=Second");
    tenant.asks(&app, Method::DELETE, &path).await.expect(202);
    let early = app.platform.invoke("DeletionsFunction", json!({})).await;
    assert_eq!(
        early.unwrap()["deletions"],
        0,
        "requests may still be writing"
    );
    remove(&app).await;

    let left = Everything::of(&app).await;
    let ids = BTreeSet::from([second.clone(), in_second.agent.clone()]);
    let named = left.naming(&ids);
    // Who made it, and who deleted it, is told in the organization's log.
    let log = format!("organization#{}#audit", tenant.account.organization_id);
    assert!(
        named.keys().iter().all(|key| key.contains(&log)),
        "{:#?}",
        named.keys()
    );
    let missing: Vec<_> = kept.keys().difference(&left.keys()).copied().collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let list = app
        .get("/api/agent-base?limit=1")
        .bearer(&tenant.token)
        .send()
        .await;
    assert_eq!(list.expect(200)["pagination"]["total"], 1);
}

#[tokio::test]
async fn what_is_admitted_while_its_agent_or_workspace_is_deleted_has_no_effect() {
    let faults = DynamoDbFaults::default();
    let proxy = faults.proxy();
    let app = TestApp::with(|options| local::Options {
        dynamodb_proxy: Some(proxy),
        schedules: false,
        ..in_this_process(options)
    })
    .await;
    for what in ["agent", "workspace"] {
        let target = Target::start().await;
        let tenant = Tenant::of(&app, app.register().await, &target).await;
        tenant.workspace(&app, "Second").await;
        // The run is written after the deletion.
        let write = Calls::of("TransactWriteItems").by("ExecutionsFunction");
        let late = faults.inject(Fault::Hangs, write, 2);
        let path = format!("/api/agent-base/{}/executions", tenant.agent);
        let start = app.post(&path, json!({})).bearer(&tenant.token).send();
        let delete = async {
            eventually("a late write", async || late.met() > 0).await;
            let (path, credential) = match what {
                "agent" => (format!("/api/agent-base/{}", tenant.agent), &tenant.token),
                _ => {
                    let workspace = &tenant.account.workspace_id;
                    let path = format!("/api/workspaces/{workspace}?name=Default");
                    (path, &tenant.account.access_token)
                }
            };
            let request = app.request(Method::DELETE, &path).bearer(credential);
            let deleted = request.send().await;
            assert!(deleted.status.is_success(), "{what}: {}", deleted.text);
        };
        let (started, ()) = futures::future::join(start, delete).await;
        let run = text(&started.expect(202)["data"]["execution_id"]);
        if what == "agent" {
            let is_stopped = async || tenant.run(&app, &run).await["status"] == "stopped";
            eventually("a stop", is_stopped).await;
            let error = text(&tenant.run(&app, &run).await["error"]);
            assert_eq!(error, "stopped because its agent was deleted");
        }
        remove(&app).await;
        assert_eq!(target.hits().len(), 0, "{what}");
        if what == "workspace" {
            let ids = BTreeSet::from([run]);
            let left = Everything::of(&app).await;
            assert_eq!(left.naming(&ids).keys(), BTreeSet::new());
        }
    }
}
