//! Rotating the master secret, and losing it.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Fixture, TestApp, TestResponse, in_this_process};

/// A platform whose clock a test moves, with a model that an agent asks with a stored key.
struct Rotating {
    fixture: Fixture,
    credential: String,
    agent: String,
}

impl Rotating {
    async fn start() -> Self {
        let fixture = Fixture::with(in_this_process).await;
        let config = json!({"instructions": "x", "model": "openai/gpt-5"});
        let agent = fixture.agent(config).await;
        let credential = store_key(&fixture).await;
        Self {
            fixture,
            credential,
            agent,
        }
    }

    /// The status of the credential, in the list and by itself.
    async fn status(&self) -> String {
        let path = format!("/api/v1/credentials/{}", self.credential);
        let shown = self.fixture.data(&path).await;
        let listed = self.fixture.data("/api/v1/credentials").await;
        let mut listed = listed.as_array().unwrap().iter();
        let listed = listed.find(|row| row["id"] == shown["id"]).unwrap();
        assert_eq!(listed["status"], shown["status"]);
        text(&shown["status"])
    }

    /// The end of a run of the agent.
    async fn run(&self) -> Value {
        let id = self.start_run().await;
        self.fixture.ended(&id).await
    }

    async fn start_run(&self) -> String {
        let token = self.token("run").await;
        let token = text(&token.expect(201)["data"]["token"]);
        let path = format!("/api/agent-base/{}/executions", self.agent);
        let post = self
            .fixture
            .app
            .post(&path, json!({}))
            .bearer(&token)
            .send()
            .await;
        text(&post.expect(202)["data"]["execution_id"])
    }

    /// Makes a token once.
    async fn token(&self, key: &str) -> TestResponse {
        let session = self.fixture.account.sign_in(&self.fixture.app).await;
        let post = self
            .fixture
            .app
            .post("/api/api-tokens", json!({"name": key}));
        let post = post.bearer(&session).header("idempotency-key", key);
        post.send().await
    }

    /// Loses all versions of the master secret that open the data keys.
    async fn lose_data_keys(&self) {
        let services = self.fixture.app.platform.services();
        let table = &services.config.tables.records;
        let key = |name: &str| AttributeValue::S(name.to_owned());
        let get = services.dynamodb.get_item().table_name(table);
        let get = get.key("PK", key("platform")).key("SK", key("data_keys"));
        let mut item = get.send().await.unwrap().item.expect("data keys");
        let mut data: Value = serde_json::from_str(item["data"].as_s().unwrap()).unwrap();
        for key in data["keys"].as_array_mut().unwrap() {
            let wrapped = key["wrapped"].as_object_mut().unwrap();
            let (_, sealed) = std::mem::take(wrapped).into_iter().next().unwrap();
            wrapped.insert("00000000-0000-4000-8000-000000000000".to_owned(), sealed);
        }
        let data = AttributeValue::S(data.to_string());
        item.insert("data".to_owned(), data);
        let put = services.dynamodb.put_item().table_name(table);
        put.set_item(Some(item)).send().await.unwrap();
    }
}

/// Stores a credential, which works; its id.
async fn store_key(fixture: &Fixture) -> String {
    let id = fixture.store_credential("openai").await;
    let stored = fixture.data(&format!("/api/v1/credentials/{id}")).await;
    assert_eq!(stored["status"], "active");
    id
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn ten_rotations_lose_no_credential_no_answer_and_no_session() {
    let rotating = Rotating::start().await;
    let app = &rotating.fixture.app;
    let first = rotating.token("once").await.expect(201);
    assert_eq!(rotating.run().await["status"], "completed");
    for rotation in 1..=10 {
        app.platform.rotate_secrets().unwrap();
        // Half of them at times without requests, the others at once.
        if rotation <= 5 {
            app.clock.advance(TimeDelta::minutes(6));
            app.tick().await;
        }
    }
    app.clock.advance(TimeDelta::minutes(6));

    assert_eq!(rotating.status().await, "active");
    let again = rotating.token("once").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), first);
    rotating.fixture.models.take_hits();
    assert_eq!(rotating.run().await["status"], "completed");
    let asked = &rotating.fixture.models.take_hits()[0];
    assert_eq!(
        asked.headers["authorization"],
        format!("Bearer {}", Fixture::SECRET)
    );
    let body = json!({"refresh_token": rotating.fixture.account.refresh_token});
    let refreshed = app.post("/api/auth/refresh", body).send().await;
    refreshed.expect(200);
}

#[tokio::test]
async fn what_cannot_be_opened_any_more_is_shown_as_such_and_replaced() {
    let rotating = Rotating::start().await;
    let app = &rotating.fixture.app;
    let first = rotating.token("once").await.expect(201);
    rotating.lose_data_keys().await;
    app.clock.advance(TimeDelta::minutes(6));

    assert_eq!(rotating.status().await, "unreadable");
    let run = rotating.run().await;
    let told = run["error"]["message"].as_str().unwrap_or_default();
    let told = format!("{told}{}", run["error"]);
    assert!(told.contains("cannot be opened any more"), "{run}");
    // A kept answer that is lost is made anew of what was done.
    let again = rotating.token("once").await;
    assert_eq!(again.header("idempotent-replayed"), "");
    assert_eq!(again.expect(201)["data"]["id"], first["data"]["id"]);

    let path = format!("/api/v1/credentials/{}/revoke", rotating.credential);
    let revoked = app
        .request(Method::POST, &path)
        .bearer(&rotating.fixture.key);
    assert_eq!(
        revoked.send().await.expect(200)["data"]["status"],
        "revoked"
    );
    store_key(&rotating.fixture).await;
    assert_eq!(rotating.run().await["status"], "completed");
    assert_eq!(rotating.status().await, "revoked");
}

#[tokio::test]
async fn a_key_that_another_instance_made_a_moment_ago_is_not_lost() {
    let rotating = Rotating::start().await;
    let clock = &rotating.fixture.app.clock;
    // After this time a rotation brings another data key.
    clock.advance(TimeDelta::days(31));
    assert_eq!(rotating.run().await["status"], "completed");
    rotating.fixture.app.platform.rotate_secrets().unwrap();
    clock.advance(TimeDelta::seconds(1));
    // The function that stores credentials makes it, a second after the worker has read the data keys.
    store_key(&rotating.fixture).await;
    rotating.fixture.models.take_hits();
    let run = rotating.start_run().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rotating.fixture.run(&run).await["error"], Value::Null);
    assert_eq!(
        rotating.fixture.models.take_hits().len(),
        0,
        "the worker has no key yet"
    );

    clock.advance(TimeDelta::seconds(40));
    rotating.fixture.app.tick().await;
    assert_eq!(rotating.fixture.ended(&run).await["status"], "completed");
}

#[tokio::test]
async fn an_instance_asks_for_a_secret_that_it_has_not_heard_of_once_in_ten_seconds() {
    // Says to be signed with the version `x`.
    const UNKNOWN: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6IngifQ.e30.AAAA";
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let at = |path: &str, session: &str| {
        let get = app.get(path).bearer(session);
        async { get.send().await.status.as_u16() }
    };
    // Each function has a process, or at least clients, of its own.
    let (identity, agents) = ("/api/organization", "/api/agent-base");
    app.clock.advance(TimeDelta::seconds(301));
    assert_eq!(at(agents, &account.access_token).await, 200);
    app.platform.rotate_secrets().unwrap();
    app.clock.advance(TimeDelta::seconds(11));
    let second = account.sign_in(&app).await;
    assert_eq!(at(agents, &second).await, 200, "signed with the newer one");

    app.clock.advance(TimeDelta::seconds(10));
    assert_eq!(at(agents, UNKNOWN).await, 401);
    app.platform.rotate_secrets().unwrap();
    app.clock.advance(TimeDelta::seconds(1));
    assert_eq!(at(identity, UNKNOWN).await, 401);
    let third = account.sign_in(&app).await;
    assert_eq!(at(agents, &third).await, 401, "asked a second ago");
    app.clock.advance(TimeDelta::seconds(9));
    assert_eq!(at(agents, &third).await, 200);
    assert_eq!(
        at(agents, &second).await,
        200,
        "signed with the previous one"
    );
}
