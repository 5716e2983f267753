//! `/api/v1/audit-logs`: what was done, written with the change itself.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::TestApp;

use crate::stored::{Item, items};

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

#[tokio::test]
async fn a_page_of_rows_that_cannot_be_read_is_passed_over() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account
        .agentplatform_key(&app, &["agents:write", "audit_logs:read"])
        .await;
    app.agent(&key, "x").await;
    let table = &app.platform.services().config.tables.logs;
    let rows = items(&app, table, "audit").await;
    let created = |row: &&Item| row["data"].as_s().unwrap().contains("agent.created");
    let created = rows.iter().find(created).unwrap();
    for number in 0..60 {
        let mut row = created.clone();
        let id = format!("fff0f5a0-b1c2-7d3e-8f4a-5b6c7d8e9f{number:02}");
        row.insert("SK".to_owned(), AttributeValue::S(id));
        row.insert("data".to_owned(), AttributeValue::S("{".to_owned()));
        let dynamodb = app.platform.services().dynamodb;
        let put = dynamodb.put_item().table_name(table);
        put.set_item(Some(row)).send().await.unwrap();
    }
    let path = "/api/v1/audit-logs?action=agent.created";
    let page = app.get(path).bearer(&key).send();
    let page = tokio::time::timeout(Duration::from_secs(10), page).await;
    let page = page.expect("it ends").expect(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 1, "{page}");
}

#[tokio::test]
async fn what_concerns_the_organization_shows_to_administrators_in_every_workspace() {
    let app = TestApp::start().await;
    let owner = app.register().await;
    let second = owner.second_workspace(&app).await;
    let limited = owner.colleague(&app, "ADMIN", &[&second]).await;
    let user = owner.colleague(&app, "USER", &[&second]).await;
    let writer = owner.agentplatform_key(&app, &["credentials:write"]).await;
    for scope in ["organization", "workspace"] {
        let body =
            json!({"name": "x", "provider": "openai", "secret": "sk-0123456789", "scope": scope});
        let post = app.post("/api/v1/credentials", body).bearer(&writer);
        post.send().await.expect(201);
    }
    let path = format!("/api/organization/members/{}", limited.user_id);
    let change = app.request(Method::PATCH, &path);
    let change = change.json(json!({"role": "ADMIN"}));
    change.bearer(&owner.access_token).send().await.expect(200);
    let seen = async |reader: &testkit::Account, workspace: &str| {
        let body = json!({"name": "k", "kind": "agentplatform", "scopes": ["audit_logs:read"], "workspace_id": workspace});
        let post = app.post("/api/settings/api-keys", body);
        let key = post.bearer(&reader.access_token).send().await.expect(201);
        let get = app.get("/api/v1/audit-logs?limit=200");
        let log = get.bearer(key["key"].as_str().unwrap()).send().await;
        let log = log.expect(200)["data"].clone();
        let rows = log.as_array().unwrap().iter();
        let actions = rows.filter_map(|row| row["action"].as_str());
        let actions = actions.filter(|action| !action.starts_with("api_key."));
        actions.map(str::to_owned).collect::<Vec<_>>()
    };
    let of_all = [
        "member.updated",
        "credential.created",
        "member.joined",
        "member.invited",
        "member.joined",
        "member.invited",
        "workspace.created",
    ];
    assert_eq!(seen(&limited, &second).await, of_all);
    assert_eq!(seen(&user, &second).await, Vec::<String>::new());
    let mut of_first = of_all.to_vec();
    of_first.insert(1, "credential.created");
    of_first.push("user.registered");
    assert_eq!(seen(&owner, &owner.workspace_id).await, of_first);
}
