//! Tokens that follow their makers while DynamoDB fails or its indexes lag.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use testkit::{Account, Calls, DynamoDbFaults, Fault, TestApp, TestResponse};

async fn demote(app: &TestApp, owner: &Account, member: &Account) -> TestResponse {
    let path = format!("/api/organization/members/{}", member.user_id);
    let patch = app.request(Method::PATCH, &path);
    let patch = patch.json(json!({"role": "USER"}));
    patch.bearer(&owner.access_token).send().await
}

async fn writes_credentials(app: &TestApp, key: &str) -> bool {
    let body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789"});
    let post = app.post("/api/v1/credentials", body).bearer(key);
    post.send().await.status == 201
}

#[tokio::test]
async fn a_demotion_that_cannot_reach_a_token_fails_and_is_made_by_the_next_try() {
    let faults = DynamoDbFaults::default();
    let app = super::start(&faults).await;
    let owner = app.register().await;
    let grace = owner.colleague(&app, "ADMIN", &[]).await;
    let key = grace.agentplatform_key(&app, &["credentials:write"]).await;
    let of_token = Calls::of("TransactWriteItems")
        .by("IdentityFunction")
        .containing("api_key.updated");
    faults.inject(Fault::Conflicts, of_token, usize::MAX);
    let told = demote(&app, &owner, &grace).await;
    assert!(!told.status.is_success(), "{}", told.text);
    let members = app.get("/api/organization/members");
    let members = members.bearer(&owner.access_token).send().await.expect(200);
    let roles: Vec<_> = members["data"].as_array().unwrap().iter().collect();
    assert_eq!(roles[0]["role"], "ADMIN", "nothing was changed");
    faults.clear();
    demote(&app, &owner, &grace).await.expect(200);
    assert!(!writes_credentials(&app, &key).await);
}

#[tokio::test]
async fn a_token_follows_also_while_indexes_lag() {
    let faults = DynamoDbFaults::with_index_lag(Duration::from_millis(500));
    let app = super::start(&faults).await;
    let owner = app.register().await;
    let grace = owner.colleague(&app, "ADMIN", &[]).await;
    let key = grace.agentplatform_key(&app, &["credentials:write"]).await;
    demote(&app, &owner, &grace).await.expect(200);
    assert!(!writes_credentials(&app, &key).await);
}
