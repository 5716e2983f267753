//! Another tenant's ids name nothing.

use reqwest::Method;
use serde_json::json;
use testkit::TestApp;

const SCOPES: &[&str] = &[
    "agents:read",
    "agents:write",
    "runs:read",
    "signals:write",
    "audit_logs:read",
];

#[tokio::test]
async fn ids_of_another_tenant_are_not_found_by_any_route() {
    let app = TestApp::start().await;
    let (owner, stranger) = (app.register().await, app.register().await);
    let owners_key = owner.agentplatform_key(&app, SCOPES).await;
    let owners_token = owner.prodgy_token(&app).await;
    let agent = app.agent(&owners_key, "x").await;
    let run = json!({"input": {"text": "A sentence."}, "wait": true});
    let run = app
        .post(&format!("/api/agent-base/{agent}/executions"), run)
        .bearer(&owners_token)
        .send()
        .await;
    let run = run.expect(200)["data"]["id"].as_str().unwrap().to_owned();

    let key = stranger.agentplatform_key(&app, SCOPES).await;
    let token = stranger.prodgy_token(&app).await;
    let routes = [
        (&key, Method::GET, format!("/api/v1/agents/{agent}")),
        (&key, Method::PATCH, format!("/api/v1/agents/{agent}")),
        (&key, Method::DELETE, format!("/api/v1/agents/{agent}")),
        (&key, Method::POST, format!("/api/v1/agents/{agent}/pause")),
        (&key, Method::POST, format!("/api/v1/agents/{agent}/resume")),
        (
            &key,
            Method::POST,
            format!("/api/v1/agents/{agent}/signals"),
        ),
        (&key, Method::GET, format!("/api/v1/agents/{agent}/runs")),
        (
            &key,
            Method::GET,
            format!("/api/v1/agents/{agent}/messages"),
        ),
        (&key, Method::GET, format!("/api/v1/runs/{run}")),
        (&key, Method::GET, format!("/api/v1/runs/{run}/messages")),
        (&token, Method::GET, format!("/api/agent-base/{agent}")),
        (&token, Method::PUT, format!("/api/agent-base/{agent}")),
        (&token, Method::DELETE, format!("/api/agent-base/{agent}")),
        (
            &token,
            Method::GET,
            format!("/api/agent-base/{agent}/versions"),
        ),
        (
            &token,
            Method::GET,
            format!("/api/agent-base/{agent}/executions"),
        ),
        (
            &token,
            Method::POST,
            format!("/api/agent-base/{agent}/executions"),
        ),
        (
            &token,
            Method::GET,
            format!("/api/agent-base/{agent}/executions/{run}"),
        ),
        (
            &token,
            Method::GET,
            format!("/api/agent-base/product/{}", owner.workspace_id),
        ),
        (
            &token,
            Method::GET,
            format!("/api/agent-base?product_id={}", owner.workspace_id),
        ),
        (
            &stranger.access_token,
            Method::GET,
            format!("/api/agent-base/{agent}?product_id={}", owner.workspace_id),
        ),
        (
            &stranger.access_token,
            Method::GET,
            format!("/api/workspaces/{}", owner.workspace_id),
        ),
        (
            &stranger.access_token,
            Method::PATCH,
            format!("/api/workspaces/{}", owner.workspace_id),
        ),
        (
            &stranger.access_token,
            Method::GET,
            format!("/api/api-tokens/product/{}", owner.workspace_id),
        ),
        (
            &stranger.access_token,
            Method::DELETE,
            format!("/api/organization/members/{}", owner.user_id),
        ),
        (
            &stranger.access_token,
            Method::PATCH,
            format!("/api/organization/members/{}", owner.user_id),
        ),
    ];
    for (credential, method, path) in routes {
        let body = json!({"type": "x", "name": "Mine now", "role": "USER"});
        let answer = app
            .request(method.clone(), &path)
            .bearer(credential)
            .json(body)
            .send()
            .await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
    }
    let unharmed = app
        .get(&format!("/api/v1/agents/{agent}"))
        .bearer(&owners_key)
        .send()
        .await
        .expect(200);
    assert_eq!(
        (&unharmed["data"]["name"], &unharmed["data"]["status"]),
        (&json!("A"), &json!("idle"))
    );
    let log = app
        .get("/api/v1/audit-logs?limit=200")
        .bearer(&key)
        .send()
        .await
        .expect(200);
    assert!(!log.to_string().contains(&agent) && !log.to_string().contains(&owner.user_id));
}

#[tokio::test]
async fn an_organization_header_is_ignored_unless_a_super_admin_sends_it() {
    let app = TestApp::start().await;
    let (owner, stranger) = (app.register().await, app.register().await);
    let request = app
        .get("/api/organization")
        .bearer(&stranger.access_token)
        .header("x-organization-id", &owner.organization_id);
    assert_eq!(
        request.send().await.expect(200)["data"]["id"],
        stranger.organization_id.as_str()
    );
}

#[tokio::test]
async fn tokens_see_their_own_workspace_only() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let second = app
        .post("/api/workspaces", json!({"name": "Second"}))
        .bearer(&account.access_token)
        .send()
        .await
        .expect(201);
    let second = second["data"]["id"].as_str().unwrap().to_owned();
    let token = account.prodgy_token(&app).await;
    let install = |credential: &str, product: &str| {
        let body =
            json!({"slug": "freeform", "product_id": product, "parameters": {"instructions": "x"}});
        app.post("/api/agent-base/install", body)
            .bearer(credential)
            .send()
    };
    install(&token, &second).await.expect_refused(404);
    let agent = install(&account.access_token, &second).await.expect(201)["data"]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    app.get(&format!("/api/agent-base/{agent}"))
        .bearer(&token)
        .send()
        .await
        .expect_refused(404);
    let path = format!("/api/agent-base/{agent}?product_id={second}");
    app.get(&path)
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    let listed = app
        .get(&format!("/api/agent-base/product/{second}"))
        .bearer(&account.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}
