//! `/api/auth`: registering, signing in, refreshing, signing out.

use serde_json::json;
use testkit::{Account, TestApp};

#[tokio::test]
async fn registering_gives_a_session_an_organization_and_a_workspace() {
    let app = TestApp::start().await;
    let account = app.register().await;

    let me = app
        .get("/api/auth/me")
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(me["email"], account.email.as_str());
    assert_eq!((&me["role"], &me["key"]), (&json!("ADMIN"), &json!(null)));
    assert_eq!(me["workspace_id"], account.workspace_id.as_str());

    let organization = app
        .get("/api/organization")
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(organization["data"]["name"], "Analytical Engines");

    let workspaces = app
        .get("/api/workspaces")
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(workspaces["data"][0]["id"], account.workspace_id.as_str());
    assert_eq!(workspaces["pagination"]["total"], 1);
}

#[tokio::test]
async fn an_address_is_registered_once_even_by_two_requests_at_the_same_time() {
    let app = TestApp::start().await;
    let body = json!({"email": "Twice@Example.com", "password": Account::PASSWORD, "name": "Ada"});
    let (first, second) = tokio::join!(
        app.post("/api/auth/register", body.clone()).send(),
        app.post("/api/auth/register", body.clone()).send()
    );
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400]);
    let third = app.post("/api/auth/register", body).send().await;
    assert!(
        third.expect_refused(400).contains("email"),
        "{}",
        third.text
    );
}

#[tokio::test]
async fn what_cannot_be_an_account_is_refused_by_field() {
    let app = TestApp::start().await;
    for (body, field) in [
        (
            json!({"password": Account::PASSWORD, "name": "Ada"}),
            "email",
        ),
        (
            json!({"email": "nobody", "password": Account::PASSWORD, "name": "Ada"}),
            "email",
        ),
        (
            json!({"email": "a@example.com", "password": "weak", "name": "Ada"}),
            "password",
        ),
        (
            json!({"email": "a@example.com", "password": 12345678, "name": "Ada"}),
            "password",
        ),
        (
            json!({"email": "a@example.com", "password": Account::PASSWORD, "name": " "}),
            "name",
        ),
        (
            json!({"email": "a@example.com", "password": Account::PASSWORD, "name": "x".repeat(201)}),
            "name",
        ),
        (
            json!({"email": "a@example.com", "password": Account::PASSWORD, "name": "Ada", "invitation": "x"}),
            "invitation",
        ),
    ] {
        let answer = app.post("/api/auth/register", body).send().await;
        let told = answer.expect_refused(400);
        assert!(told.contains(field), "{field}: {told}");
    }
    let login = app
        .post(
            "/api/auth/login",
            json!({"email": "a@example.com", "password": Account::PASSWORD}),
        )
        .send()
        .await;
    login.expect_refused(401);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_are_told_alike() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let login = |email: &str, password: &str| {
        app.post(
            "/api/auth/login",
            json!({"email": email, "password": password}),
        )
        .send()
    };

    let signed_in = login(&account.email.to_uppercase(), Account::PASSWORD)
        .await
        .expect(200);
    assert_eq!(signed_in["data"]["user"]["id"], account.user_id.as_str());

    let wrong = login(&account.email, "Wrong-horse-7").await;
    let unknown = login("nobody@example.com", Account::PASSWORD).await;
    assert_eq!(wrong.expect_refused(401), unknown.expect_refused(401));
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_reuse_ends_the_session() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let refresh = |token: &str| {
        app.post("/api/auth/refresh", json!({"refresh_token": token}))
            .send()
    };

    let second = refresh(&account.refresh_token).await.expect(200);
    let second_refresh = second["data"]["refresh_token"].as_str().unwrap();
    let second_access = second["data"]["access_token"].as_str().unwrap();
    app.get("/api/auth/me")
        .bearer(second_access)
        .send()
        .await
        .expect(200);

    app.clock.advance(chrono::TimeDelta::seconds(31));
    refresh(&account.refresh_token).await.expect_refused(401);
    refresh(second_refresh).await.expect_refused(401);
    app.get("/api/auth/me")
        .bearer(second_access)
        .send()
        .await
        .expect_refused(401);
}

#[tokio::test]
async fn signing_out_acts_on_the_next_request() {
    let app = TestApp::start().await;
    let account = app.register().await;
    app.get("/api/organization")
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    app.request(reqwest::Method::POST, "/api/auth/logout")
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    app.get("/api/organization")
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(401);
    app.post(
        "/api/auth/refresh",
        json!({"refresh_token": account.refresh_token}),
    )
    .send()
    .await
    .expect_refused(401);
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_before() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let change = |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        app.post("/api/auth/password", body)
            .bearer(&account.access_token)
            .send()
    };
    assert!(
        change("Wrong-horse-7", "Better-horse-8")
            .await
            .expect_refused(400)
            .contains("current_password")
    );
    assert!(
        change(Account::PASSWORD, "weak")
            .await
            .expect_refused(400)
            .contains("new_password")
    );

    app.clock.advance(chrono::TimeDelta::seconds(1));
    let fresh = change(Account::PASSWORD, "Better-horse-8")
        .await
        .expect(200);
    app.get("/api/organization")
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(401);
    app.get("/api/organization")
        .bearer(fresh["data"]["access_token"].as_str().unwrap())
        .send()
        .await
        .expect(200);

    let login = |password: &str| {
        app.post(
            "/api/auth/login",
            json!({"email": account.email, "password": password}),
        )
        .send()
    };
    login(Account::PASSWORD).await.expect_refused(401);
    login("Better-horse-8").await.expect(200);
}

#[tokio::test]
async fn an_access_token_lasts_an_hour() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    app.clock.advance(chrono::TimeDelta::minutes(59));
    app.get("/api/organization")
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    app.clock.advance(chrono::TimeDelta::minutes(2));
    app.get("/api/organization")
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(401);
    app.post(
        "/api/auth/refresh",
        json!({"refresh_token": account.refresh_token}),
    )
    .send()
    .await
    .expect(200);
}

#[tokio::test]
async fn registration_can_be_closed() {
    let app = TestApp::with(|options| options.parameter("Registration", "closed")).await;
    let body = json!({"email": "a@example.com", "password": Account::PASSWORD, "name": "Ada"});
    app.post("/api/auth/register", body)
        .send()
        .await
        .expect_refused(403);
}

#[tokio::test]
async fn a_made_up_refresh_token_ends_no_session() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let session = account.refresh_token.split('.').next().unwrap();
    let random = "A".repeat(43);
    for made_up in [
        format!("{session}.{random}"),
        format!("{session}.{random}.{}", "0".repeat(64)),
        session.to_owned(),
    ] {
        app.post("/api/auth/refresh", json!({"refresh_token": made_up}))
            .send()
            .await
            .expect_refused(401);
    }
    app.post(
        "/api/auth/refresh",
        json!({"refresh_token": account.refresh_token}),
    )
    .send()
    .await
    .expect(200);
}
