//! Rate limits: the documented numbers, headers and subjects of each dialect.

use chrono::TimeDelta;
use serde_json::json;
use testkit::{Account, TestApp, in_this_process};

/// Moves the clock to the start of the next window, so that a minute's end does not fall into a test.
fn start_of_window(app: &TestApp) {
    let into = app.clock.now().timestamp_millis().rem_euclid(60_000);
    app.clock.advance(TimeDelta::milliseconds(60_000 - into));
}

#[tokio::test]
async fn the_eleventh_prodgy_request_in_a_minute_from_one_address_is_refused() {
    let app = TestApp::with_documented_limits().await;
    let account = app.register().await;
    let token = account.prodgy_token(&app).await;
    start_of_window(&app);
    let window_end = (app.clock.now().timestamp() / 60 + 1) * 60;

    for request in 1..=10 {
        let answer = app.get("/api/agent-base").bearer(&token).send().await;
        assert_eq!(answer.header("ratelimit-limit"), "10");
        assert_eq!(
            answer.header("ratelimit-remaining"),
            (10 - request).to_string()
        );
        assert_eq!(answer.header("ratelimit-reset"), window_end.to_string());
        answer.expect(200);
    }
    let eleventh = app.get("/api/agent-base").bearer(&token).send().await;
    eleventh.expect_refused(429);
    assert_eq!(
        (
            eleventh.header("ratelimit-limit"),
            eleventh.header("ratelimit-remaining")
        ),
        ("10", "0")
    );
    assert_eq!(eleventh.header("ratelimit-reset"), window_end.to_string());
    let wait: i64 = eleventh.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait));

    app.clock.advance(TimeDelta::seconds(wait));
    app.get("/api/agent-base")
        .bearer(&token)
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn heavy_operations_have_the_stricter_limit() {
    let app = TestApp::with_documented_limits().await;
    let account = app.register().await;
    start_of_window(&app);
    let create = || {
        app.post("/api/api-tokens", json!({"name": "x"}))
            .bearer(&account.access_token)
            .send()
    };
    for _ in 0..5 {
        create().await.expect(201);
    }
    let sixth = create().await;
    sixth.expect_refused(429);
    assert_eq!(sixth.header("ratelimit-limit"), "5");
    // The other limit is untouched by it.
    app.get("/api/agent-base")
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn keys_are_limited_each_by_itself() {
    let app = TestApp::with_documented_limits().await;
    let account = app.register().await;
    start_of_window(&app);
    let body = json!({"name": "slow", "scopes": ["*"], "rate_limit_per_minute": 2});
    let slow = app
        .post("/api/settings/api-keys", body)
        .bearer(&account.access_token)
        .send()
        .await
        .expect(201);
    let slow = slow["key"].as_str().unwrap();
    let other = account.prowpt_key(&app, &["*"]).await;
    for _ in 0..2 {
        let answer = app.get("/api/auth/me").bearer(slow).send().await;
        assert_eq!(answer.header("x-ratelimit-limit"), "2");
        answer.expect(200);
    }
    let third = app.get("/api/auth/me").bearer(slow).send().await;
    assert!(!third.header("retry-after").is_empty());
    assert_eq!(third.expect_refused(429), "\"Rate limit exceeded\"");
    assert_eq!(
        app.get("/api/auth/me")
            .bearer(&other)
            .send()
            .await
            .header("x-ratelimit-limit"),
        "60"
    );

    let key = account.agentplatform_key(&app, &["agents:read"]).await;
    let answer = app.get("/api/v1/agents").bearer(&key).send().await;
    assert_eq!(
        (
            answer.header("x-ratelimit-limit"),
            answer.header("x-ratelimit-remaining")
        ),
        ("100", "99")
    );
}

#[tokio::test]
async fn guessing_a_password_is_slowed() {
    let app = TestApp::with_documented_limits().await;
    start_of_window(&app);
    let login = || {
        app.post(
            "/api/auth/login",
            json!({"email": "ada@example.com", "password": Account::PASSWORD}),
        )
        .send()
    };
    for _ in 0..5 {
        login().await.expect_refused(401);
    }
    let sixth = login().await;
    sixth.expect_refused(429);
    assert!(!sixth.header("retry-after").is_empty());
}

#[tokio::test]
async fn unknown_keys_count_against_their_sender() {
    let app = TestApp::with(|options| {
        in_this_process(options).parameter("UnauthenticatedLimitPerMinute", "3")
    })
    .await;
    start_of_window(&app);
    let guess = |digit: char| {
        let key = format!("ap_live_{}", digit.to_string().repeat(40));
        app.get("/api/v1/agents").bearer(&key).send()
    };
    for digit in ['1', '2', '3'] {
        guess(digit).await.expect_refused(401);
    }
    guess('4').await.expect_refused(429);
    // Malformed ones are refused without looking, so they cost nothing.
    app.get("/api/v1/agents")
        .bearer("ap_live_short")
        .send()
        .await
        .expect_refused(401);
}

#[tokio::test]
async fn an_address_over_its_limit_uses_up_no_other() {
    let app =
        TestApp::with(|options| in_this_process(options).parameter("SignInLimitPerMinute", "5"))
            .await;
    start_of_window(&app);
    let account = app.register().await;
    let counted_for = |email: &str| {
        let body = json!({"email": email, "password": "Wrong-horse-7"});
        app.post("/api/auth/login", body).send()
    };
    for _ in 0..9 {
        counted_for(&account.email).await;
    }
    // Five attempts passed the address's limit; so many the account has seen.
    let stored = app.platform.services().dynamodb;
    let table = stored
        .list_tables()
        .send()
        .await
        .unwrap()
        .table_names
        .unwrap_or_default();
    let table = table
        .into_iter()
        .find(|name| name.contains("Counters"))
        .unwrap();
    let key = format!(
        "rate#sign_in_account#{}#{}",
        domain::digest::sha256_hex(&account.email),
        app.clock.now().timestamp() / 60
    );
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let counter = stored
        .get_item()
        .table_name(table)
        .key("PK", text(&key))
        .key("SK", text("rate"))
        .send()
        .await
        .unwrap();
    let wrong = counter.item.unwrap()["wrong"].as_n().unwrap().clone();
    assert_eq!(wrong, "5");
}

#[tokio::test]
async fn little_is_read_without_a_credential_which_each_dialect_says_in_its_way() {
    let app = TestApp::start().await;
    let body = json!({"name": "x".repeat(1_200_000)});
    for (path, status) in [
        ("/api/agent-base", 400),
        ("/api/auth/register", 400),
        ("/api/v1/agents", 413),
        ("/api/settings/api-keys", 413),
    ] {
        let refused = app.post(path, body.clone()).send().await;
        refused.expect_refused(status);
    }
    // Routes that take more, and credentials, are read on to what the route says.
    let account = app.register().await;
    let refused = app.post("/api/auth/password", body.clone());
    refused
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(400);
    let path = "/api/v1/agents/0199f7a4-0000-7000-8000-000000000000/signals";
    app.post(path, body).send().await.expect_refused(401);
}
