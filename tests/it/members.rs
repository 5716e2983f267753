//! `/api/organization/members` and `/api/workspaces`: invitations, roles, removal.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, TestResponse};

struct Colleague {
    id: String,
    access_token: String,
}

async fn invite(app: &TestApp, admin: &Account, email: &str, role: &str) -> TestResponse {
    app.post(
        "/api/organization/members",
        json!({"email": email, "role": role}),
    )
    .bearer(&admin.access_token)
    .send()
    .await
}

async fn join(app: &TestApp, admin: &Account, email: &str, role: &str) -> Colleague {
    let invited = invite(app, admin, email, role).await.expect(201)["data"].clone();
    let body = json!({"email": email, "password": Account::PASSWORD, "name": "Grace", "invitation": invited["invitation"]});
    let joined = app
        .post("/api/auth/register", body)
        .send()
        .await
        .expect(201)["data"]
        .clone();
    assert_eq!(joined["organization"]["id"], admin.organization_id.as_str());
    Colleague {
        id: invited["id"].as_str().unwrap().to_owned(),
        access_token: joined["access_token"].as_str().unwrap().to_owned(),
    }
}

#[tokio::test]
async fn an_invitation_works_once_and_for_its_address_only() {
    let app = TestApp::with(|options| options.parameter("Registration", "open")).await;
    let admin = app.register().await;
    let invited = invite(&app, &admin, "grace@example.com", "USER")
        .await
        .expect(201)["data"]
        .clone();
    assert_eq!(invited["status"], "Pending");
    assert!(
        invite(&app, &admin, "root@example.com", "SUPERADMIN")
            .await
            .expect_refused(400)
            .contains("role")
    );

    let register = |email: &str| {
        let body = json!({"email": email, "password": Account::PASSWORD, "name": "Grace", "invitation": invited["invitation"]});
        app.post("/api/auth/register", body).send()
    };
    assert!(
        register("mallory@example.com")
            .await
            .expect_refused(400)
            .contains("email")
    );
    register("grace@example.com").await.expect(201);
    register("grace@example.com").await.expect_refused(400);
}

#[tokio::test]
async fn members_see_and_administrators_change() {
    let app = TestApp::start().await;
    let admin = app.register().await;
    let user = join(&app, &admin, "grace@example.com", "USER").await;

    let members = app
        .get("/api/organization/members")
        .bearer(&user.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(members["pagination"]["total"], 2);
    for (method, path, body) in [
        (
            Method::POST,
            "/api/organization/members".to_owned(),
            json!({"email": "x@example.com"}),
        ),
        (
            Method::PATCH,
            "/api/organization".to_owned(),
            json!({"name": "Taken over"}),
        ),
        (
            Method::POST,
            "/api/workspaces".to_owned(),
            json!({"name": "Mine"}),
        ),
        (
            Method::PATCH,
            format!("/api/organization/members/{}", user.id),
            json!({"role": "ADMIN"}),
        ),
        (
            Method::DELETE,
            format!("/api/organization/members/{}", admin.user_id),
            json!({}),
        ),
    ] {
        let answer = app
            .request(method, &path)
            .json(body)
            .bearer(&user.access_token)
            .send()
            .await;
        answer.expect_refused(403);
    }
}

#[tokio::test]
async fn removal_ends_sessions_and_tokens_on_the_next_request() {
    let app = TestApp::start().await;
    let admin = app.register().await;
    let user = join(&app, &admin, "grace@example.com", "ADMIN").await;
    let token = app
        .post("/api/api-tokens", json!({"name": "t", "role": "ADMIN"}))
        .bearer(&user.access_token)
        .send()
        .await;
    let token = token.expect(201)["data"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let validate = || {
        app.get("/api/api-token/auth/validate")
            .bearer(&token)
            .send()
    };
    assert_eq!(validate().await.expect(200)["data"]["role"], "ADMIN");

    let member = format!("/api/organization/members/{}", user.id);
    app.request(Method::PATCH, &member)
        .json(json!({"role": "USER"}))
        .bearer(&admin.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(
        validate().await.expect(200)["data"]["role"],
        "USER",
        "a token does not outrank who made it"
    );

    app.request(Method::DELETE, &member)
        .bearer(&admin.access_token)
        .send()
        .await
        .expect(200);
    app.get("/api/organization")
        .bearer(&user.access_token)
        .send()
        .await
        .expect_refused(401);
    validate().await.expect_refused(401);
}

#[tokio::test]
async fn an_organization_keeps_an_administrator() {
    let app = TestApp::start().await;
    let admin = app.register().await;
    let own = format!("/api/organization/members/{}", admin.user_id);
    app.request(Method::PATCH, &own)
        .json(json!({"role": "USER"}))
        .bearer(&admin.access_token)
        .send()
        .await
        .expect_refused(400);
    app.request(Method::DELETE, &own)
        .bearer(&admin.access_token)
        .send()
        .await
        .expect_refused(400);
}

#[tokio::test]
async fn a_member_may_be_kept_to_some_workspaces() {
    let app = TestApp::start().await;
    let admin = app.register().await;
    let create = |name: &str| {
        app.post("/api/workspaces", json!({"name": name}))
            .bearer(&admin.access_token)
            .send()
    };
    let second = create("Second").await.expect(201)["data"]["id"].clone();
    let user = join(&app, &admin, "grace@example.com", "USER").await;
    let member = format!("/api/organization/members/{}", user.id);
    let restrict = |workspaces: Value| {
        app.request(Method::PATCH, &member)
            .json(json!({ "workspaces": workspaces }))
            .bearer(&admin.access_token)
            .send()
    };

    assert!(
        restrict(json!(["0190f5a0-b1c2-7d3e-8f4a-5b6c7d8e9f00"]))
            .await
            .expect_refused(400)
            .contains("workspaces")
    );
    restrict(json!([second])).await.expect(200);
    let visible = app
        .get("/api/workspaces")
        .bearer(&user.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(visible["data"].as_array().unwrap().len(), 1);
    let first = format!("/api/workspaces/{}", admin.workspace_id);
    app.get(&first)
        .bearer(&user.access_token)
        .send()
        .await
        .expect_refused(404);
    let me = app
        .get("/api/auth/me")
        .bearer(&user.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(me["workspace_id"], second);

    restrict(json!(null)).await.expect(200);
    app.get(&first)
        .bearer(&user.access_token)
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn a_withdrawn_invitation_is_cancelled_and_frees_its_address() {
    let app = TestApp::start().await;
    let admin = app.register().await;
    let invited = invite(&app, &admin, "grace@example.com", "USER")
        .await
        .expect(201)["data"]
        .clone();
    let member = format!(
        "/api/organization/members/{}",
        invited["id"].as_str().unwrap()
    );
    let remove = || {
        app.request(Method::DELETE, &member)
            .bearer(&admin.access_token)
            .send()
    };
    remove().await.expect(200);
    let body = json!({"email": "grace@example.com", "password": Account::PASSWORD, "name": "Grace", "invitation": invited["invitation"]});
    assert!(
        app.post("/api/auth/register", body)
            .send()
            .await
            .expect_refused(400)
            .contains("invitation")
    );
    let listed = app
        .get("/api/organization/members")
        .bearer(&admin.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(listed["data"][0]["status"], "Cancelled");

    join(&app, &admin, "grace@example.com", "USER").await;
    remove().await.expect(200);
    remove().await.expect_refused(404);
}

#[tokio::test]
async fn tokens_for_a_workspace_end_when_it_is_closed_to_their_maker() {
    let app = TestApp::start().await;
    let admin = app.register().await;
    let second = app
        .post("/api/workspaces", json!({"name": "Second"}))
        .bearer(&admin.access_token)
        .send()
        .await;
    let second = second.expect(201)["data"]["id"].clone();
    let user = join(&app, &admin, "grace@example.com", "USER").await;
    let member = format!("/api/organization/members/{}", user.id);
    let change = |workspaces: Value| {
        let body = json!({ "workspaces": workspaces });
        app.request(Method::PATCH, &member)
            .json(body)
            .bearer(&admin.access_token)
            .send()
    };
    assert!(
        change(json!([]))
            .await
            .expect_refused(400)
            .contains("workspaces")
    );

    let token = app
        .post("/api/api-tokens", json!({"name": "t"}))
        .bearer(&user.access_token)
        .send()
        .await;
    let token = token.expect(201)["data"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    change(json!([second])).await.expect(200);
    app.get("/api/agent-base")
        .bearer(&token)
        .send()
        .await
        .expect_refused(401);
    let path = format!("/api/workspaces/{}", admin.workspace_id);
    let body = json!({"name": "Mine"});
    app.request(Method::PATCH, &path)
        .json(body)
        .bearer(&user.access_token)
        .send()
        .await
        .expect_refused(403);
}
