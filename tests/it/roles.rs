//! The rights of tokens and keys follow those of their makers.

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, TestResponse};

async fn mint(app: &TestApp, session: &str, path: &str, body: Value) -> TestResponse {
    app.post(path, body).bearer(session).send().await
}

async fn change(app: &TestApp, admin: &Account, member: &Account, body: Value) -> TestResponse {
    let path = format!("/api/organization/members/{}", member.user_id);
    let patch = app.request(Method::PATCH, &path).json(body);
    patch.bearer(&admin.access_token).send().await
}

async fn remove(app: &TestApp, admin: &Account, member: &Account) -> TestResponse {
    let path = format!("/api/organization/members/{}", member.user_id);
    let delete = app.request(Method::DELETE, &path);
    delete.bearer(&admin.access_token).send().await
}

/// The status of an attempt to store a model's credential with a key.
async fn store_credential(app: &TestApp, key: &str) -> u16 {
    let body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789"});
    let post = app.post("/api/v1/credentials", body).bearer(key);
    post.send().await.status.as_u16()
}

#[tokio::test]
async fn a_key_is_an_administrators_only_while_its_maker_is_one() {
    let app = TestApp::start().await;
    let owner = app.register().await;
    let grace = owner.colleague(&app, "ADMIN", &[]).await;
    let key = grace
        .agentplatform_key(&app, &["credentials:write", "agents:read"])
        .await;
    assert_eq!(store_credential(&app, &key).await, 201);
    for (role, expected) in [("USER", 403), ("ADMIN", 201), ("USER", 403)] {
        change(&app, &owner, &grace, json!({ "role": role }))
            .await
            .expect(200);
        assert_eq!(store_credential(&app, &key).await, expected, "{role}");
        app.get("/api/v1/agents")
            .bearer(&key)
            .send()
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_token_has_the_lower_of_its_own_role_and_its_makers() {
    let app = TestApp::start().await;
    let owner = app.register().await;
    let grace = owner.colleague(&app, "ADMIN", &[]).await;
    let mut tokens = Vec::new();
    for role in [json!({"role": "ADMIN"}), json!({})] {
        let mut body = role;
        body["name"] = json!("t");
        let made = mint(&app, &grace.access_token, "/api/api-tokens", body).await;
        let made = made.expect(201)["data"]["token"].clone();
        tokens.push(made.as_str().unwrap().to_owned());
    }
    let roles = async || {
        let mut roles = Vec::new();
        for token in &tokens {
            let get = app.get("/api/api-token/auth/validate").bearer(token);
            roles.push(get.send().await.expect(200)["data"]["role"].clone());
        }
        roles
    };
    assert_eq!(roles().await, ["ADMIN", "USER"]);
    for (role, expected) in [("USER", ["USER", "USER"]), ("ADMIN", ["ADMIN", "USER"])] {
        change(&app, &owner, &grace, json!({ "role": role }))
            .await
            .expect(200);
        assert_eq!(roles().await, expected, "their maker is {role}");
    }
}

#[tokio::test]
async fn what_a_super_admin_made_in_another_organization_ends_with_the_role() {
    let app = TestApp::start().await;
    let (operator, customer) = (app.register().await, app.register().await);
    let (grace, ada) = (
        operator.colleague(&app, "ADMIN", &[]).await,
        operator.colleague(&app, "ADMIN", &[]).await,
    );
    for account in [&operator, &grace, &ada] {
        account.make_super_admin(&app).await;
    }
    let ends: [(&Account, Value); 2] = [(&grace, json!({"role": "ADMIN"})), (&ada, Value::Null)];
    for (maker, demotion) in ends {
        let there = async |path: &str, body: Value| {
            let post = app.post(path, body).bearer(&maker.access_token);
            let post = post.header("x-organization-id", &customer.organization_id);
            post.send().await.expect(201)
        };
        let token = there("/api/api-tokens", json!({"name": "t", "role": "ADMIN"})).await;
        let token = token["data"]["token"].as_str().unwrap().to_owned();
        let body = json!({"name": "k", "kind": "agentplatform", "scopes": ["agents:read", "agents:write"]});
        let key = there("/api/settings/api-keys", body).await["key"].clone();
        let key = key.as_str().unwrap().to_owned();
        let statuses = async || {
            let validate = app.get("/api/api-token/auth/validate").bearer(&token);
            let body = json!({"name": "x", "type": "freeform", "config": {"instructions": "x"}});
            let create = app.post("/api/v1/agents", body).bearer(&key);
            [validate.send().await.status, create.send().await.status].map(|it| it.as_u16())
        };
        assert_eq!(statuses().await, [200, 201]);
        match demotion {
            Value::Null => remove(&app, &operator, maker).await.expect(200),
            demotion => change(&app, &operator, maker, demotion).await.expect(200),
        };
        assert_eq!(statuses().await, [401, 401]);
    }
}

#[tokio::test]
async fn a_key_of_somebody_with_more_rights_is_not_rotated_by_somebody_with_fewer() {
    let app = TestApp::start().await;
    let owner = app.register().await;
    let second = owner.second_workspace(&app).await;
    let limited = owner.colleague(&app, "ADMIN", &[&second]).await;
    let body = json!({
        "name": "k", "kind": "agentplatform", "scopes": ["credentials:write"], "workspace_id": second,
    });
    let made = mint(&app, &owner.access_token, "/api/settings/api-keys", body).await;
    let path = format!(
        "/api/settings/api-keys/{}",
        made.expect(201)["id"].as_str().unwrap()
    );
    let rotate = app.post(&format!("{path}/rotate"), json!({}));
    rotate
        .bearer(&limited.access_token)
        .send()
        .await
        .expect_refused(403);
    let rename = app
        .request(Method::PATCH, &path)
        .json(json!({"name": "mine"}));
    rename
        .bearer(&limited.access_token)
        .send()
        .await
        .expect_refused(403);
    let end = app
        .request(Method::DELETE, &path)
        .bearer(&limited.access_token);
    assert_eq!(end.send().await.status, 204, "an administrator may end it");
}

/// Rewrites all tokens as they were before they followed their makers.
async fn make_older(app: &TestApp) {
    let services = app.platform.services();
    let table = &services.config.tables.records;
    #[expect(
        clippy::disallowed_methods,
        reason = "looks at everything, once, in a test"
    )]
    let scan = services.dynamodb.scan().table_name(table);
    for mut item in scan.send().await.unwrap().items.unwrap_or_default() {
        let kind = item.get("type").and_then(|kind| kind.as_s().ok());
        match kind.map(String::as_str) {
            Some("token" | "token_lookup") => {
                let data = item["data"].as_s().unwrap();
                let mut token: Value = serde_json::from_str(data).unwrap();
                let members = token.as_object_mut().unwrap();
                for name in [
                    "maker_organization_id",
                    "own_role",
                    "all_workspaces",
                    "is_raised_by_operator",
                    "place",
                ] {
                    members.remove(name).unwrap();
                }
                if token["kind"] != "prodgy" {
                    token["role"] = json!("USER");
                }
                item.insert("data".to_owned(), AttributeValue::S(token.to_string()));
                let put = services.dynamodb.put_item().table_name(table);
                put.set_item(Some(item)).send().await.unwrap();
            }
            Some("token_by_maker" | "token_place") => {
                let delete = services.dynamodb.delete_item().table_name(table);
                let delete = delete.key("PK", item["PK"].clone());
                let delete = delete.key("SK", item["SK"].clone());
                delete.send().await.unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_key_from_before_is_rotated_by_its_maker_and_administrators_of_all_workspaces_alone() {
    let app = TestApp::start().await;
    let owner = app.register().await;
    let second = owner.second_workspace(&app).await;
    let limited = owner.colleague(&app, "ADMIN", &[&second]).await;
    let make = async |maker: &Account| {
        let body = json!({
            "name": "k", "kind": "agentplatform", "scopes": ["agents:read"], "workspace_id": second,
        });
        let made = mint(&app, &maker.access_token, "/api/settings/api-keys", body).await;
        let id = made.expect(201)["id"].clone();
        format!("/api/settings/api-keys/{}", id.as_str().unwrap())
    };
    let (owners, limiteds) = (make(&owner).await, make(&limited).await);
    make_older(&app).await;
    let rotate = async |by: &Account, key: &str| {
        let post = app.post(&format!("{key}/rotate"), json!({}));
        post.bearer(&by.access_token).send().await
    };
    let told = rotate(&limited, &owners).await.expect_refused(403);
    assert!(told.contains("all workspaces"), "{told}");
    rotate(&limited, &limiteds).await.expect(200);
    rotate(&owner, &limiteds).await.expect(200);
    rotate(&owner, &owners).await.expect(200);
}

#[tokio::test]
async fn keys_from_before_have_their_makers_role_too() {
    let app = TestApp::start().await;
    let owner = app.register().await;
    let grace = owner.colleague(&app, "ADMIN", &[]).await;
    let eve = owner.colleague(&app, "ADMIN", &[]).await;
    let gone = owner.colleague(&app, "ADMIN", &[]).await;
    let mut keys = Vec::new();
    for maker in [&grace, &eve, &gone] {
        let scopes = ["credentials:write", "agents:read"];
        keys.push(maker.agentplatform_key(&app, &scopes).await);
    }
    let token = grace.prodgy_token(&app).await;
    make_older(&app).await;
    change(&app, &owner, &eve, json!({"role": "USER"}))
        .await
        .expect(200);
    remove(&app, &owner, &gone).await.expect(200);

    for (key, expected) in keys.iter().zip([201, 403, 401]) {
        for _ in 0..2 {
            assert_eq!(store_credential(&app, key).await, expected);
        }
    }
    let validate = app.get("/api/api-token/auth/validate").bearer(&token);
    let validity = validate.send().await.expect(200);
    assert_eq!(validity["data"]["role"], "USER");
    change(&app, &owner, &grace, json!({"role": "USER"}))
        .await
        .expect(200);
    assert_eq!(store_credential(&app, &keys[0]).await, 403);
}
