//! `/api/settings/api-keys`: keys of Prowpt and AgentPlatform.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, Answer, TestApp};

async fn create(app: &TestApp, account: &Account, body: Value) -> Answer {
    app.post("/api/settings/api-keys", body)
        .bearer(&account.access_token)
        .send()
        .await
}

#[tokio::test]
async fn a_prowpt_key_works_in_both_headers_and_dies_when_rotated() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let created = create(
        &app,
        &account,
        json!({"name": "laptop", "scopes": ["projects:*", "billing:purchase_credits"]}),
    )
    .await
    .expect(201);
    let key = created["key"].as_str().unwrap();
    assert!(key.starts_with("pk_live_") && key.len() == 48);
    assert_eq!(
        (&created["kind"], &created["expires_at"]),
        (&json!("prowpt"), &json!(null))
    );

    let me = app
        .get("/api/auth/me")
        .header("x-api-key", key)
        .send()
        .await
        .expect(200);
    assert_eq!(me["key"]["scopes"][0], "projects:*");
    app.get("/api/auth/me/")
        .bearer(key)
        .send()
        .await
        .expect(200);
    app.get("/api/agent-base")
        .bearer(key)
        .send()
        .await
        .expect_refused(401);
    app.get("/api/settings/api-keys")
        .bearer(key)
        .send()
        .await
        .expect_refused(401);

    let path = format!("/api/settings/api-keys/{}", created["id"].as_str().unwrap());
    let rotated = app
        .request(Method::POST, &format!("{path}/rotate"))
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    app.get("/api/auth/me")
        .bearer(key)
        .send()
        .await
        .expect_refused(401);
    let key = rotated["key"].as_str().unwrap();
    app.get("/api/auth/me").bearer(key).send().await.expect(200);

    let patched = app
        .request(Method::PATCH, &path)
        .json(json!({"is_active": false, "scopes": ["*"]}))
        .bearer(&account.access_token)
        .send()
        .await;
    assert_eq!(patched.expect(200)["status"], "inactive");
    app.get("/api/auth/me")
        .bearer(key)
        .send()
        .await
        .expect_refused(401);

    assert_eq!(
        app.request(Method::DELETE, &path)
            .bearer(&account.access_token)
            .send()
            .await
            .status,
        204
    );
    app.request(Method::DELETE, &path)
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(404);
}

#[tokio::test]
async fn an_agentplatform_key_has_presets_scopes_and_a_last_use() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let body = json!({"name": "ci", "kind": "agentplatform", "scopes": ["agents:read"], "expires_in": "30d"});
    let created = create(&app, &account, body).await.expect(201);
    let key = created["key"].as_str().unwrap();
    assert!(key.starts_with("ap_live_"));
    let expires_at: DateTime<Utc> = created["expires_at"].as_str().unwrap().parse().unwrap();
    assert!((expires_at - app.clock.now() - TimeDelta::days(30)).abs() < TimeDelta::minutes(1));

    app.get("/api/v1/agents")
        .bearer(key)
        .send()
        .await
        .expect(200);
    let told = app
        .post("/api/v1/agents", json!({"name": "x", "type": "freeform"}))
        .bearer(key)
        .send()
        .await
        .expect_refused(403);
    assert!(told.contains("agents:write"), "{told}");
    app.get("/api/v1/agents")
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(401);

    let listed = app
        .get("/api/settings/api-keys")
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(
        (&listed["total"], &listed["items"][0]["usage_count"]),
        (&json!(1), &json!(2))
    );
    assert!(listed["items"][0]["last_used_at"].is_string());
    assert!(
        !listed.to_string().contains(&key[12..]),
        "a list shows no secret"
    );
}

#[tokio::test]
async fn wrong_keys_are_refused_by_field() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let past = (app.clock.now() - TimeDelta::days(1)).to_rfc3339();
    let future = (app.clock.now() + TimeDelta::days(1)).to_rfc3339();
    for (body, field) in [
        (json!({"scopes": ["*"]}), "name"),
        (json!({"name": "x"}), "scopes"),
        (json!({"name": "x", "scopes": []}), "scopes"),
        (json!({"name": "x", "scopes": ["projects:fly"]}), "scopes"),
        (
            json!({"name": "x", "kind": "agentplatform", "scopes": ["*"]}),
            "scopes",
        ),
        (
            json!({"name": "x", "kind": "prodgy", "scopes": ["*"]}),
            "kind",
        ),
        (
            json!({"name": "x", "scopes": ["*"], "expires_at": past}),
            "expires_at",
        ),
        (
            json!({"name": "x", "kind": "agentplatform", "scopes": ["runs:read"], "expires_at": future}),
            "expires_at",
        ),
        (
            json!({"name": "x", "kind": "agentplatform", "scopes": ["runs:read"], "expires_in": "2w"}),
            "expires_in",
        ),
        (
            json!({"name": "x", "scopes": ["*"], "rate_limit_per_minute": 0}),
            "rate_limit_per_minute",
        ),
    ] {
        let answer = create(&app, &account, body.clone()).await;
        let told = answer.expect_refused(422);
        assert!(told.contains(field), "{body}: {told}");
    }
}
