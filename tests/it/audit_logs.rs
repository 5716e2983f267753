//! `/api/v1/audit-logs`: what was done, written with the change itself.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::TestApp;

#[tokio::test]
async fn changes_are_found_by_action_time_and_cursor() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account
        .agentplatform_key(&app, &["agents:read", "agents:write", "audit_logs:read"])
        .await;
    let started = app.clock.now().to_rfc3339();
    let body = json!({"name": "A", "type": "freeform", "config": {"instructions": "x"}});
    let agent = app
        .post("/api/v1/agents", body)
        .bearer(&key)
        .send()
        .await
        .expect(201)["data"]["id"]
        .clone();
    let path = format!("/api/v1/agents/{}", agent.as_str().unwrap());
    app.request(Method::PATCH, &path)
        .json(json!({"name": "B"}))
        .bearer(&key)
        .send()
        .await
        .expect(200);
    app.request(Method::DELETE, &path).bearer(&key).send().await;

    let log = |query: &str| {
        let path = format!("/api/v1/audit-logs?{query}");
        let request = app.get(&path).bearer(&key);
        async { request.send().await.expect(200) }
    };
    let actions = |page: &Value| {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["action"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = log("action=agent.*").await;
    assert_eq!(
        actions(&all),
        ["agent.deleted", "agent.updated", "agent.created"]
    );
    let created = &all["data"][2];
    assert_eq!(
        (&created["resource"]["type"], &created["resource"]["id"]),
        (&json!("agent"), &agent)
    );
    assert_eq!(
        (&created["actor"]["type"], &created["ip"]),
        (&json!("api_key"), &json!("127.0.0.1"))
    );

    let first = log("action=agent.*&limit=2").await;
    let cursor = first["meta"]["next_cursor"].as_str().unwrap();
    assert_eq!(
        actions(&log(&format!("action=agent.*&limit=2&cursor={cursor}")).await),
        ["agent.created"]
    );
    let recent = log(&format!("from={}", started.replace('+', "%2B"))).await;
    assert_eq!(
        actions(&recent),
        ["agent.deleted", "agent.updated", "agent.created"]
    );
    assert_eq!(actions(&log("to=2020-01-01").await), Vec::<String>::new());
    assert!(actions(&log("").await).contains(&"user.registered".to_owned()));
}

#[tokio::test]
async fn a_filter_that_lets_nothing_pass_costs_a_bounded_look() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, &["audit_logs:read"]).await;
    let page = app
        .get("/api/v1/audit-logs?action=nothing.happened")
        .bearer(&key)
        .send()
        .await
        .expect(200);
    assert_eq!(
        (&page["data"], &page["meta"]["next_cursor"]),
        (&json!([]), &json!(null))
    );
}
