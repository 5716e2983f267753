//! `POST /api/organization/members`: what an invitation tells, and what it cannot do.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, TestResponse, in_this_process};

async fn invite(app: &TestApp, admin: &Account, email: &str, role: &str) -> TestResponse {
    let body = json!({"email": email, "role": role});
    let post = app.post("/api/organization/members", body);
    post.bearer(&admin.access_token).send().await
}

async fn join(app: &TestApp, email: &str, invitation: &Value) -> TestResponse {
    let body = json!({"email": email, "password": "Another-horse-8", "name": "G", "invitation": invitation});
    app.post("/api/auth/register", body).send().await
}

#[tokio::test]
async fn an_invitation_tells_nothing_of_an_account_and_takes_nothing_from_it() {
    let app = TestApp::start().await;
    let (admin, other) = (app.register().await, app.register().await);
    let shape = |answer: TestResponse, email: &str| {
        let mut data = answer.expect(201)["data"].clone();
        assert_eq!(data["email"], email);
        let code = data["invitation"].clone();
        for varying in [
            "id",
            "email",
            "name",
            "created_at",
            "expires_at",
            "invitation",
        ] {
            data[varying] = json!("");
        }
        (data, code)
    };
    let unknown = invite(&app, &admin, "grace@example.com", "USER").await;
    let (unknown, _) = shape(unknown, "grace@example.com");
    let known = invite(&app, &admin, &other.email, "USER").await;
    let (known, code) = shape(known, &other.email);
    assert_eq!(known, unknown);

    let told = join(&app, &other.email, &code).await.expect_refused(400);
    assert!(told.contains("email"), "{told}");
    let body = json!({"email": other.email, "password": Account::PASSWORD});
    let signed_in = app.post("/api/auth/login", body).send().await.expect(200);
    let organization = &signed_in["data"]["organization"]["id"];
    assert_eq!(*organization, other.organization_id.as_str());
    let listed = app.get("/api/organization/members");
    let listed = listed.bearer(&admin.access_token).send().await.expect(200);
    assert_eq!(listed["data"][0]["status"], "Pending");

    let told = invite(&app, &admin, &admin.email, "USER").await;
    assert!(told.expect_refused(400).contains("member"), "one's own");
}

#[tokio::test]
async fn inviting_again_ends_the_code_of_before_and_changes_what_is_given() {
    let app = TestApp::start().await;
    let admin = app.register().await;
    let email = "grace@example.com";
    let first = invite(&app, &admin, email, "ADMIN").await.expect(201)["data"].clone();
    let second = invite(&app, &admin, email, "USER").await.expect(201)["data"].clone();
    assert_eq!(first["id"], second["id"]);
    let refused = join(&app, email, &first["invitation"]).await;
    assert!(refused.expect_refused(400).contains("invitation"));
    let joined = join(&app, email, &second["invitation"]).await.expect(201);
    assert_eq!(joined["data"]["user"]["role"], "USER");
    let again = join(&app, email, &second["invitation"]).await;
    assert!(again.expect_refused(400).contains("invitation"));
}

#[tokio::test]
async fn of_invitations_of_an_address_at_the_same_time_one_code_works() {
    let app = TestApp::start().await;
    let admin = app.register().await;
    let email = "grace@example.com";
    let invited = futures::future::join_all((0..3).map(|_| invite(&app, &admin, email, "USER")));
    let mut joined = 0;
    for invited in invited.await {
        let code = invited.expect(201)["data"]["invitation"].clone();
        joined += u32::from(join(&app, email, &code).await.status == 201);
    }
    assert_eq!(joined, 1);
    let listed = app.get("/api/organization/members");
    let listed = listed.bearer(&admin.access_token).send().await.expect(200);
    assert_eq!(listed["pagination"]["total"], 2);
}

#[tokio::test]
async fn an_organization_invites_twenty_people_an_hour() {
    let app =
        TestApp::with(|options| in_this_process(options).parameter("InvitationLimitPerHour", "20"))
            .await;
    let (admin, other) = (app.register().await, app.register().await);
    let into = app.clock.now().timestamp().rem_euclid(3600);
    let next_hour = || app.clock.advance(chrono::TimeDelta::seconds(3600 - into));
    next_hour();
    let sessions = [admin.sign_in(&app).await, other.sign_in(&app).await];
    let invite = |session: &str, number: u32| {
        let body = json!({"email": format!("grace{number}@example.com")});
        let post = app.request(Method::POST, "/api/organization/members");
        post.json(body).bearer(session).send()
    };
    for number in 0..20 {
        invite(&sessions[0], number).await.expect(201);
    }
    let over = invite(&sessions[0], 20).await;
    over.expect_refused(429);
    assert!(!over.header("retry-after").is_empty());
    invite(&sessions[1], 20).await.expect(201);
}
