//! `/api/api-tokens`: Prodgy's tokens and their six audit actions.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, TestResponse};

async fn create(app: &TestApp, account: &Account, body: Value) -> TestResponse {
    app.post("/api/api-tokens", body)
        .bearer(&account.access_token)
        .send()
        .await
}

async fn act(
    app: &TestApp,
    account: &Account,
    id: &str,
    action: &str,
    body: Value,
) -> TestResponse {
    app.post(&format!("/api/api-tokens/{id}/{action}"), body)
        .bearer(&account.access_token)
        .send()
        .await
}

/// The actions of a token's log, oldest first.
async fn actions(app: &TestApp, account: &Account, id: &str) -> Vec<String> {
    let log = app
        .get(&format!("/api/api-tokens/{id}/audit-logs"))
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    let rows = log["data"].as_array().unwrap();
    rows.iter()
        .rev()
        .map(|row| row["action"].as_str().unwrap().to_owned())
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_works_in_both_headers_until_it_is_regenerated() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let created = create(
        &app,
        &account,
        json!({"name": "CI", "product_id": account.workspace_id}),
    )
    .await
    .expect(201)["data"]
        .clone();
    let (id, token) = (text(&created["id"]), text(&created["token"]));
    assert!(token.starts_with("prodgy_") && token.len() == 39);
    assert_eq!(created["prefix"], token[..8]);
    assert_eq!(
        (&created["status"], &created["expires_at"]),
        (&json!("active"), &json!(null))
    );

    app.get("/api/agent-base")
        .bearer(&token)
        .send()
        .await
        .expect(200);
    app.get("/api/agent-base")
        .header("x-api-token", &token)
        .send()
        .await
        .expect(200);
    app.get(&format!("/api/api-tokens/{id}"))
        .bearer(&token)
        .send()
        .await
        .expect_refused(401);
    create(
        &app,
        &Account {
            access_token: token.clone(),
            ..account.clone()
        },
        json!({"name": "x"}),
    )
    .await
    .expect_refused(401);

    let regenerated = act(&app, &account, &id, "regenerate", json!({}))
        .await
        .expect(200)["data"]
        .clone();
    app.get("/api/agent-base")
        .bearer(&token)
        .send()
        .await
        .expect_refused(401);
    app.get("/api/agent-base")
        .bearer(&text(&regenerated["token"]))
        .send()
        .await
        .expect(200);
    // `used` is written once an hour, whatever the number of uses.
    let logged = actions(&app, &account, &id).await;
    assert_eq!(logged.iter().filter(|action| *action == "used").count(), 1);
    assert!(
        ["created", "used", "regenerated"]
            .iter()
            .all(|action| logged.iter().any(|logged| logged == action)),
        "{logged:?}"
    );

    app.count_requests(&account, 5).await;
    let listed = app
        .get(&format!("/api/api-tokens/product/{}", account.workspace_id))
        .bearer(&account.access_token)
        .send()
        .await;
    let listed = listed.expect(200);
    // Four requests with the old secret, the two refused ones included, and one with the new.
    assert_eq!(listed["data"][0]["usage_count"], 5);
    assert!(listed["data"][0]["last_used_at"].is_string() && listed["data"][0]["token"].is_null());
}

#[tokio::test]
async fn a_token_is_switched_off_and_on_and_ends_for_good_when_revoked() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let created = create(&app, &account, json!({"name": "CI"}))
        .await
        .expect(201)["data"]
        .clone();
    let (id, token) = (text(&created["id"]), text(&created["token"]));
    let path = format!("/api/api-tokens/{id}");
    let put = |body: Value| {
        app.request(Method::PUT, &path)
            .json(body)
            .bearer(&account.access_token)
            .send()
    };
    let use_it = || app.get("/api/agent-base").bearer(&token).send();

    assert_eq!(
        put(json!({"is_active": false, "name": "Night build"}))
            .await
            .expect(200)["data"]["status"],
        "inactive"
    );
    use_it().await.expect_refused(401);
    assert_eq!(
        put(json!({"is_active": true})).await.expect(200)["data"]["name"],
        "Night build"
    );
    use_it().await.expect(200);

    assert_eq!(
        act(&app, &account, &id, "revoke", json!({}))
            .await
            .expect(200)["data"]["status"],
        "revoked"
    );
    use_it().await.expect_refused(401);
    put(json!({"is_active": true})).await.expect_refused(400);
    act(&app, &account, &id, "renew", json!({"expires_at": null}))
        .await
        .expect_refused(400);
    act(&app, &account, &id, "regenerate", json!({}))
        .await
        .expect_refused(400);
    assert_eq!(
        actions(&app, &account, &id).await,
        ["created", "used", "revoked"]
    );
}

#[tokio::test]
async fn an_expiry_is_recorded_once_by_the_tick_or_by_the_first_use() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let in_an_hour = (app.clock.now() + TimeDelta::hours(1)).to_rfc3339();
    let created = create(
        &app,
        &account,
        json!({"name": "short", "expires_at": in_an_hour}),
    )
    .await
    .expect(201)["data"]
        .clone();
    let (first, token) = (text(&created["id"]), text(&created["token"]));
    let created = create(
        &app,
        &account,
        json!({"name": "unused", "expires_at": in_an_hour}),
    )
    .await
    .expect(201)["data"]
        .clone();
    let second = text(&created["id"]);

    app.clock.advance(TimeDelta::minutes(61));
    // The session has run out as well.
    let session = app
        .post(
            "/api/auth/refresh",
            json!({"refresh_token": account.refresh_token}),
        )
        .send()
        .await
        .expect(200);
    let account = Account {
        access_token: text(&session["data"]["access_token"]),
        ..account
    };
    for _ in 0..2 {
        app.get("/api/agent-base")
            .bearer(&token)
            .send()
            .await
            .expect_refused(401);
        app.tick().await;
    }
    assert_eq!(
        actions(&app, &account, &first).await,
        ["created", "expired"]
    );
    assert_eq!(
        actions(&app, &account, &second).await,
        ["created", "expired"]
    );

    let tomorrow = (app.clock.now() + TimeDelta::days(1)).to_rfc3339();
    act(
        &app,
        &account,
        &first,
        "renew",
        json!({"expires_at": tomorrow}),
    )
    .await
    .expect(200);
    app.get("/api/agent-base")
        .bearer(&token)
        .send()
        .await
        .expect(200);
    assert_eq!(
        actions(&app, &account, &first).await,
        ["created", "expired", "renewed", "used"]
    );
}

#[tokio::test]
async fn deleting_a_token_ends_it() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let created = create(&app, &account, json!({"name": "CI"}))
        .await
        .expect(201)["data"]
        .clone();
    let (path, token) = (
        format!("/api/api-tokens/{}", text(&created["id"])),
        text(&created["token"]),
    );
    app.get("/api/agent-base")
        .bearer(&token)
        .send()
        .await
        .expect(200);
    app.request(Method::DELETE, &path)
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    app.get("/api/agent-base")
        .bearer(&token)
        .send()
        .await
        .expect_refused(401);
    app.get(&path)
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(404);
    app.request(Method::DELETE, &path)
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(404);
}

#[tokio::test]
async fn wrong_tokens_are_refused_by_field_and_change_nothing() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let stranger = app.register().await;
    let yesterday = (app.clock.now() - TimeDelta::days(1)).to_rfc3339();
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": "x", "expires_at": yesterday}), "expires_at"),
        (json!({"name": "x", "expires_at": "tomorrow"}), "expires_at"),
        (json!({"name": "x", "role": "KING"}), "role"),
        (json!({"name": "x", "role": "SUPERADMIN"}), "role"),
        (json!({"name": "x", "product_id": "7"}), "product_id"),
    ] {
        let told = create(&app, &account, body.clone())
            .await
            .expect_refused(400);
        assert!(told.contains(field), "{body}: {told}");
    }
    create(
        &app,
        &account,
        json!({"name": "x", "product_id": stranger.workspace_id}),
    )
    .await
    .expect_refused(404);
    let listed = app
        .get(&format!("/api/api-tokens/product/{}", account.workspace_id))
        .bearer(&account.access_token)
        .send()
        .await;
    assert_eq!(listed.expect(200)["pagination"]["total"], 0);

    let theirs = text(
        &create(&app, &stranger, json!({"name": "theirs"}))
            .await
            .expect(201)["data"]["id"],
    );
    app.get(&format!("/api/api-tokens/{theirs}"))
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(404);
    act(&app, &account, &theirs, "revoke", json!({}))
        .await
        .expect_refused(404);
}

#[tokio::test]
async fn a_credential_tells_what_it_opens() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let token = account.prodgy_token(&app).await;
    for (path, credential) in [
        ("/api/api-token/auth/validate", &token),
        ("/api/api-tokens/auth/validate", &token),
        ("/api/api-token/auth/validate", &account.access_token),
    ] {
        let answer = app.get(path).bearer(credential).send().await.expect(200);
        assert_eq!(answer["data"]["product_id"], account.workspace_id.as_str());
        assert_eq!(answer["data"]["valid"], true);
    }
    let unknown = "prodgy_k8d9Jf2kL9mP3qR4sT5uV6wX7yZ8aB9c";
    app.get("/api/api-token/auth/validate")
        .bearer(unknown)
        .send()
        .await
        .expect_refused(401);
}

#[tokio::test]
async fn the_same_idempotency_key_makes_one_token() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let send = |body: Value| {
        app.post("/api/api-tokens", body)
            .bearer(&account.access_token)
            .header("idempotency-key", "once")
            .send()
    };
    let first = send(json!({"name": "CI"})).await.expect(201);
    let again = send(json!({"name": "CI"})).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), first);
    assert!(
        send(json!({"name": "other"}))
            .await
            .expect_refused(400)
            .contains("Idempotency-Key")
    );
    let listed = app
        .get(&format!("/api/api-tokens/product/{}", account.workspace_id))
        .bearer(&account.access_token)
        .send()
        .await;
    assert_eq!(listed.expect(200)["pagination"]["total"], 1);
}

#[tokio::test]
async fn the_log_of_a_deleted_token_stays_readable() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let stranger = app.register().await;
    let created = create(&app, &account, json!({"name": "CI"}))
        .await
        .expect(201)["data"]
        .clone();
    let id = text(&created["id"]);
    let path = format!("/api/api-tokens/{id}");
    app.request(Method::DELETE, &path)
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(actions(&app, &account, &id).await, ["created", "revoked"]);
    app.get(&format!("{path}/audit-logs"))
        .bearer(&stranger.access_token)
        .send()
        .await
        .expect_refused(404);
    let listed = app
        .get(&format!("/api/api-tokens/product/{}", account.workspace_id))
        .bearer(&account.access_token)
        .send()
        .await;
    assert_eq!(listed.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_key_belongs_to_its_workspace_and_is_another_elsewhere() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let second = app
        .post("/api/workspaces", json!({"name": "Second"}))
        .bearer(&account.access_token)
        .send()
        .await;
    let second = text(&second.expect(201)["data"]["id"]);
    let install = |query: &str| {
        let body = json!({"slug": "freeform", "parameters": {"instructions": "x"}});
        let path = format!("/api/agent-base/install{query}");
        app.post(&path, body)
            .bearer(&account.access_token)
            .header("idempotency-key", "once")
            .send()
    };
    let here = install("").await.expect(201)["data"].clone();
    let there = install(&format!("?product_id={second}")).await.expect(201)["data"].clone();
    assert_ne!(here["id"], there["id"]);
    assert_eq!(there["product_id"], second.as_str());
}
