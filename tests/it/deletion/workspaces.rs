//! Deleting a workspace, or an organization with all of its own: who may, and what ends with the answer.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use testkit::fakes::Target;
use testkit::{Account, TestApp, eventually};

use super::everything::Everything;
use super::{Tenant, join, text};

#[tokio::test]
async fn a_deletion_needs_an_administrator_and_the_exact_name_and_leaves_one_workspace() {
    let app = TestApp::start().await;
    let target = Target::start().await;
    let tenant = Tenant::of(&app, app.register().await, &target).await;
    let (account, session) = (&tenant.account, &tenant.account.access_token);
    let first = format!("/api/workspaces/{}", account.workspace_id);
    let last = format!("{first}?name=Default");
    let last = tenant.asks(&app, Method::DELETE, &last).await;
    assert!(last.expect_refused(400).contains("at least one workspace"));
    let second = format!(
        "/api/workspaces/{}",
        tenant.workspace(&app, "Zürich & more").await
    );

    let everything = Everything::of(&app).await;
    for (path, right) in [
        (second.as_str(), "Z%C3%BCrich+%26+more"),
        ("/api/organization", "Analytical%20Engines"),
    ] {
        for wrong in [
            "",
            "?name=",
            "?name=z%C3%BCrich+%26+more",
            "?name=Analytical",
            "?nam=x",
        ] {
            let answer = tenant
                .asks(&app, Method::DELETE, &format!("{path}{wrong}"))
                .await;
            assert_eq!(
                answer.status.as_u16(),
                400,
                "{path}{wrong}: {}",
                answer.text
            );
            assert!(
                answer.body["errors"].to_string().contains("name"),
                "{}",
                answer.text
            );
        }
        let right = format!("{path}?name={right}");
        for credential in [&tenant.token, &tenant.key] {
            let request = app.request(Method::DELETE, &right).bearer(credential);
            request.send().await.expect_refused(401);
        }
        let email = format!("user-{}@example.com", path.len());
        let user = join(&app, account, &email, json!({"role": "USER"})).await;
        let request = app.request(Method::DELETE, &right).bearer(&user);
        request.send().await.expect_refused(403);
    }
    let stranger = app.register().await;
    let foreign = format!("{second}?name=Z%C3%BCrich+%26+more");
    let request = app
        .request(Method::DELETE, &foreign)
        .bearer(&stranger.access_token);
    request.send().await.expect_refused(404);
    let second_id = second.rsplit('/').next().unwrap();
    let limited = json!({"role": "ADMIN", "workspaces": [second_id]});
    let limited = join(&app, account, "limited@example.com", limited).await;
    for (path, status) in [
        (format!("{first}?name=Default"), 404),
        (
            "/api/organization?name=Analytical%20Engines".to_owned(),
            403,
        ),
    ] {
        let request = app.request(Method::DELETE, &path).bearer(&limited);
        request.send().await.expect_refused(status);
    }
    let now = Everything::of(&app).await;
    let gone: Vec<_> = everything.keys().difference(&now.keys()).copied().collect();
    assert!(gone.is_empty(), "{gone:#?}");
    app.get(&second).bearer(session).send().await.expect(200);
}

#[tokio::test]
async fn a_deleted_workspace_is_closed_to_everything_at_once() {
    let app = TestApp::start().await;
    let target = Target::start().await;
    let tenant = Tenant::of(&app, app.register().await, &target).await;
    let (account, session) = (&tenant.account, &tenant.account.access_token);
    let second = tenant.workspace(&app, "Second").await;
    let one = json!({"role": "USER", "workspaces": [account.workspace_id]});
    let limited = join(&app, account, "limited@example.com", one).await;
    let two = json!({"role": "USER", "workspaces": [account.workspace_id, second]});
    let both = join(&app, account, "both@example.com", two).await;
    let prowpt = account.prowpt_key(&app, &["*"]).await;
    let running = tenant.start(&app).await;
    eventually("a request", async || !target.hits().is_empty()).await;
    let events = app.url(&format!("/api/workflow/{running}/events"));
    let events = app.client.get(events).bearer_auth(&tenant.token);
    let mut events = events.send().await.unwrap();
    assert_eq!(events.status(), 200);

    let path = format!("/api/workspaces/{}?name=Default", account.workspace_id);
    let deleted = tenant.asks(&app, Method::DELETE, &path).await.expect(202);
    assert_eq!(deleted["data"]["id"], account.workspace_id.as_str());
    assert_eq!(deleted["data"]["name"], "Default");
    for (credential, path) in [
        (&tenant.token, "/api/agent-base"),
        (&tenant.key, "/api/v1/agents"),
        (&prowpt, "/api/auth/me"),
    ] {
        let refused = app.get(path).bearer(credential).send().await;
        refused.expect_refused(401);
    }
    // Sessions find it no more, and those that name no workspace are in the one that is left.
    for path in [
        format!("/api/workspaces/{}", account.workspace_id),
        format!("/api/agent-base?product_id={}", account.workspace_id),
        format!("/api/agent-base/product/{}", account.workspace_id),
    ] {
        let refused = app.get(&path).bearer(session).send().await;
        refused.expect_refused(404);
    }
    let again = tenant.asks(&app, Method::DELETE, &path).await;
    again.expect_refused(404);
    for session in [session, &both] {
        let agents = app.get("/api/agent-base").bearer(session).send().await;
        assert_eq!(agents.expect(200)["data"], json!([]));
        let me = app.get("/api/auth/me").bearer(session).send().await;
        assert_eq!(me.expect(200)["workspace_id"], second.as_str());
    }
    let refused = app.get("/api/agent-base").bearer(&limited).send().await;
    refused.expect_refused(404);
    let members = tenant
        .asks(&app, Method::GET, "/api/organization/members")
        .await;
    let members = members.expect(200)["data"].clone();
    let workspaces = |email: &str| {
        let mut members = members.as_array().unwrap().iter();
        let found = members.find(|member| member["email"] == email);
        found.unwrap()["workspaces"].clone()
    };
    assert_eq!(workspaces("limited@example.com"), json!([]));
    assert_eq!(workspaces("both@example.com"), json!([second]));
    let organization = tenant.asks(&app, Method::GET, "/api/organization").await;
    let organization = organization.expect(200)["data"].clone();
    assert_eq!(organization["default_workspace_id"], second.as_str());
    let last = format!("/api/workspaces/{second}?name=Second");
    let last = tenant.asks(&app, Method::DELETE, &last).await;
    last.expect_refused(400);

    // The stream ends with the run, whose second call is never made.
    let mut told = String::new();
    while let Some(piece) = events.chunk().await.unwrap() {
        told.push_str(&String::from_utf8_lossy(&piece));
    }
    assert!(told.contains("\"status\":\"stopped\""), "{told}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(target.hits().len(), 1);

    // Who did it is in the log of the workspace that is left.
    let key = account.agentplatform_key(&app, &["audit_logs:read"]).await;
    let log = app.get("/api/v1/audit-logs?action=workspace.deleted");
    let log = log.bearer(&key).send().await.expect(200)["data"].clone();
    assert_eq!(log.as_array().unwrap().len(), 1, "{log}");
    assert_eq!(log[0]["resource"]["id"], account.workspace_id.as_str());
    assert_eq!(log[0]["actor"]["id"], account.user_id.as_str());
}

#[tokio::test]
async fn a_deleted_organization_ends_its_sessions_and_frees_its_addresses() {
    let app = TestApp::start().await;
    let target = Target::start().await;
    let tenant = Tenant::of(&app, app.register().await, &target).await;
    let account = &tenant.account;
    let colleague = join(
        &app,
        account,
        "colleague@example.com",
        json!({"role": "ADMIN"}),
    )
    .await;
    let operator = app.register().await;
    operator.make_super_admin(&app).await;
    // An administrator cannot remove an operator, and so not in this way either.
    account.make_super_admin(&app).await;
    let path = "/api/organization?name=Analytical%20Engines";
    let refused = app.request(Method::DELETE, path).bearer(&colleague);
    refused.send().await.expect_refused(403);
    // That operator's own token in another organization ends as well.
    let abroad = app.post("/api/api-tokens", json!({"name": "abroad"}));
    let abroad = abroad.bearer(&account.access_token);
    let abroad = abroad.header("x-organization-id", &operator.organization_id);
    let abroad = text(&abroad.send().await.expect(201)["data"]["token"]);
    let mine = app.get("/api/agent-base").bearer(&abroad).send().await;
    mine.expect(200);

    let delete = app
        .request(Method::DELETE, path)
        .bearer(&operator.access_token);
    let delete = delete.header("x-organization-id", &account.organization_id);
    let deleted = delete.send().await.expect(202);
    assert_eq!(deleted["data"]["id"], account.organization_id.as_str());
    for (credential, path) in [
        (&account.access_token, "/api/auth/me"),
        (&colleague, "/api/organization"),
        (&tenant.token, "/api/agent-base"),
        (&tenant.key, "/api/v1/agents"),
        (&abroad, "/api/agent-base"),
    ] {
        let refused = app.get(path).bearer(credential).send().await;
        refused.expect_refused(401);
    }
    let refresh = json!({"refresh_token": account.refresh_token});
    let credentials = json!({"email": account.email, "password": Account::PASSWORD});
    for (path, body) in [
        ("/api/auth/refresh", refresh),
        ("/api/auth/login", credentials),
    ] {
        app.post(path, body).send().await.expect_refused(401);
    }
    let agents = app.get("/api/agent-base").bearer(&operator.access_token);
    let agents = agents.header("x-organization-id", &account.organization_id);
    agents.send().await.expect_refused(404);
    for email in [account.email.as_str(), "colleague@example.com"] {
        let body = json!({"email": email, "password": Account::PASSWORD, "name": "Ada"});
        app.post("/api/auth/register", body)
            .send()
            .await
            .expect(201);
    }
    let key = operator.agentplatform_key(&app, &["audit_logs:read"]).await;
    let log = app.get("/api/v1/audit-logs?action=organization.deleted");
    let log = log.bearer(&key).send().await.expect(200)["data"].clone();
    assert_eq!(
        log[0]["resource"]["id"],
        account.organization_id.as_str(),
        "{log}"
    );
}
