//! `/api/settings/api-keys`: keys of Prowpt and AgentPlatform.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, TestResponse};

async fn create(app: &TestApp, account: &Account, body: Value) -> TestResponse {
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

struct Rotating {
    app: TestApp,
    account: Account,
    path: String,
    /// All secrets, oldest first.
    secrets: Vec<String>,
}

impl Rotating {
    async fn start() -> Self {
        Self::start_with(TestApp::start().await).await
    }

    async fn start_with(app: TestApp) -> Self {
        let account = app.register().await;
        let body = json!({"name": "laptop", "scopes": ["*"]});
        let made = create(&app, &account, body).await.expect(201);
        let path = format!("/api/settings/api-keys/{}", made["id"].as_str().unwrap());
        let secrets = vec![made["key"].as_str().unwrap().to_owned()];
        Self {
            app,
            account,
            path,
            secrets,
        }
    }

    async fn rotate(&mut self, body: Value) -> Value {
        let next = self.secrets.len().to_string();
        self.rotate_as(&next, body).await
    }

    /// Rotates the key with this `Idempotency-Key`.
    async fn rotate_as(&mut self, request: &str, body: Value) -> Value {
        let path = format!("{}/rotate", self.path);
        let session = self.account.sign_in(&self.app).await;
        let post = self.app.post(&path, body).bearer(&session);
        let answer = post.header("idempotency-key", request).send().await;
        let rotated = answer.expect(200);
        self.secrets
            .push(rotated["key"].as_str().unwrap().to_owned());
        rotated
    }

    async fn change(&self, body: Value) {
        let patch = self.app.request(Method::PATCH, &self.path).json(body);
        let patch = patch.bearer(&self.account.sign_in(&self.app).await);
        patch.send().await.expect(200);
    }

    async fn listed(&self) -> Value {
        let get = self.app.get("/api/settings/api-keys");
        let listed = get
            .bearer(&self.account.sign_in(&self.app).await)
            .send()
            .await;
        listed.expect(200)["items"][0].clone()
    }

    /// The secrets that are good, oldest first.
    async fn good(&self) -> Vec<bool> {
        let mut good = Vec::new();
        for secret in &self.secrets {
            let answer = self.app.get("/api/auth/me").bearer(secret).send().await;
            assert!(
                matches!(answer.status.as_u16(), 200 | 401),
                "{}",
                answer.text
            );
            good.push(answer.status == 200);
        }
        good
    }
}

#[tokio::test]
async fn a_rotated_key_may_have_a_grace_which_ends_to_the_second() {
    let mut key = Rotating::start().await;
    let rotated = key.rotate(json!({"grace_seconds": 3600})).await;
    let rotated_at = key.app.clock.now();
    assert_eq!(key.good().await, [true, true]);
    let previous = &key.listed().await["previous"];
    assert_eq!(previous, &rotated["previous"]);
    assert_eq!(previous["prefix"], key.secrets[0][..12]);
    let until: DateTime<Utc> = previous["valid_until"].as_str().unwrap().parse().unwrap();
    assert!((until - rotated_at - TimeDelta::hours(1)).abs() < TimeDelta::seconds(30));

    // What is changed is changed for both.
    key.change(json!({"scopes": ["projects:read"]})).await;
    let get = key.app.get("/api/auth/me").bearer(&key.secrets[0]);
    assert_eq!(
        get.send().await.expect(200)["key"]["scopes"],
        json!(["projects:read"])
    );

    key.app
        .clock
        .advance(until - key.app.clock.now() - TimeDelta::seconds(2));
    assert_eq!(key.good().await, [true, true]);
    key.app.clock.advance(TimeDelta::seconds(2));
    assert_eq!(key.good().await, [false, true]);
    assert_eq!(key.listed().await["previous"], Value::Null);
    key.change(json!({"name": "desk"})).await;
    key.rotate(json!({})).await;
    assert_eq!(key.good().await, [false, false, true]);
}

#[tokio::test]
async fn a_grace_ends_with_the_next_rotation_and_with_the_key() {
    let mut key = Rotating::start().await;
    let grace = json!({"grace_seconds": 86_400});
    key.rotate(grace.clone()).await;
    key.rotate(grace.clone()).await;
    assert_eq!(key.good().await, [false, true, true]);
    key.rotate(json!({"grace_seconds": 0})).await;
    assert_eq!(key.good().await, [false, false, false, true]);

    key.rotate(grace.clone()).await;
    key.change(json!({"is_active": false})).await;
    assert_eq!(key.listed().await["previous"], Value::Null);
    assert_eq!(key.good().await, [false; 5]);
    key.change(json!({"is_active": true})).await;
    assert_eq!(key.good().await, [false, false, false, false, true]);

    key.rotate(grace).await;
    let delete = key.app.request(Method::DELETE, &key.path);
    let deleted = delete.bearer(&key.account.access_token).send().await;
    assert_eq!(deleted.status, 204);
    assert_eq!(key.good().await, [false; 6]);
}

#[tokio::test]
async fn a_rotation_that_is_repeated_keeps_the_secret_that_its_clients_have() {
    let mut key = Rotating::start_with(TestApp::with_own_clock().await).await;
    let body = json!({"grace_seconds": 3600});
    key.rotate_as("first", body.clone()).await;
    for _ in 0..2 {
        key.app.lose_answers().await;
        key.rotate_as("first", body.clone()).await;
    }
    assert_eq!(key.good().await, [true, false, false, true]);
    let previous = &key.listed().await["previous"];
    assert_eq!(previous["prefix"], key.secrets[0][..12]);

    key.rotate_as("second", body).await;
    assert_eq!(key.good().await, [false, false, false, true, true]);
}

#[tokio::test]
async fn a_wrong_grace_is_refused_and_rotates_nothing() {
    let key = Rotating::start().await;
    let path = format!("{}/rotate", key.path);
    for wrong in [json!(-1), json!(86_401), json!("1h"), json!(1.5)] {
        let post = key.app.post(&path, json!({"grace_seconds": wrong}));
        let answer = post.bearer(&key.account.access_token).send().await;
        let told = answer.expect_refused(422);
        assert!(told.contains("grace_seconds"), "{wrong}: {told}");
    }
    assert_eq!(key.good().await, [true]);
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

    app.count_requests(&account, 2).await;
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
