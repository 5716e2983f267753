//! Callers grant only what they have, to others and to themselves.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, TestResponse};

const MEMBERS: &str = "/api/organization/members";

/// An organization of two workspaces, whose second has an administrator of its own.
struct Office {
    app: TestApp,
    owner: Account,
    second: String,
    limited: Account,
}

impl Office {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let owner = app.register().await;
        let second = owner.second_workspace(&app).await;
        let limited = owner.colleague(&app, "ADMIN", &[&second]).await;
        Self {
            app,
            owner,
            second,
            limited,
        }
    }

    async fn change(&self, by: &Account, member: &Account, body: Value) -> TestResponse {
        let path = format!("{MEMBERS}/{}", member.user_id);
        let patch = self.app.request(Method::PATCH, &path).json(body);
        patch.bearer(&by.access_token).send().await
    }

    async fn invite(&self, body: Value) -> TestResponse {
        let mut body = body;
        body["email"] = json!(self.app.new_email());
        let post = self.app.post(MEMBERS, body);
        post.bearer(&self.limited.access_token).send().await
    }

    async fn key(&self, by: &Account, body: Value) -> TestResponse {
        let post = self.app.post("/api/settings/api-keys", body);
        post.bearer(&by.access_token).send().await
    }
}

#[tokio::test]
async fn an_administrator_of_some_workspaces_opens_no_others() {
    let office = Office::open().await;
    let (limited, first) = (&office.limited, &office.owner.workspace_id);
    for workspaces in [json!(null), json!([first]), json!([office.second, first])] {
        let body = json!({ "workspaces": workspaces });
        let told = office.change(limited, limited, body.clone()).await;
        assert!(told.expect_refused(403).contains("workspaces"));
        if !workspaces.is_null() {
            let told = office.invite(body).await.expect_refused(403);
            assert!(told.contains("workspaces"), "{told}");
        }
    }
    let listed = office.app.get("/api/workspaces");
    let listed = listed
        .bearer(&limited.access_token)
        .send()
        .await
        .expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);

    // An invitation that names none opens what its author may use.
    let invited = office.invite(json!({})).await.expect(201);
    assert_eq!(invited["data"]["workspaces"], json!([office.second]));
    let own = json!({"workspaces": [office.second]});
    let invited = office.invite(own).await.expect(201);
    assert_eq!(invited["data"]["workspaces"], json!([office.second]));
}

#[tokio::test]
async fn what_concerns_the_organization_needs_an_administrator_of_all_workspaces() {
    let office = Office::open().await;
    let name = json!({"name": "Mine"});
    for (method, path) in [
        (Method::PATCH, "/api/organization"),
        (Method::POST, "/api/workspaces"),
        (
            Method::DELETE,
            "/api/organization?name=Analytical%20Engines",
        ),
    ] {
        let request = |by: &Account| {
            let request = office.app.request(method.clone(), path).json(name.clone());
            request.bearer(&by.access_token).send()
        };
        let told = request(&office.limited).await.expect_refused(403);
        assert!(told.contains("in all workspaces"), "{path}: {told}");
        if method != Method::DELETE {
            assert!(request(&office.owner).await.status.is_success(), "{path}");
        }
    }
}

#[tokio::test]
async fn an_organization_has_a_hundred_workspaces_at_most() {
    let office = Office::open().await;
    let create = || {
        let post = office.app.post("/api/workspaces", json!({"name": "More"}));
        post.bearer(&office.owner.access_token).send()
    };
    for _ in 0..14 {
        let created = futures::future::join_all((0..7).map(|_| create())).await;
        assert!(created.iter().all(|answer| answer.status == 201));
    }
    let told = create().await.expect_refused(400);
    assert!(told.contains("at most 100 workspaces"), "{told}");

    let workspace = office.second.as_str();
    let path = format!("/api/workspaces/{workspace}?name=Second");
    let delete = office.app.request(Method::DELETE, &path);
    let deleted = delete.bearer(&office.owner.access_token).send().await;
    assert_eq!(deleted.status, 202, "{deleted:?}");
    create().await.expect(201);
}

#[tokio::test]
async fn an_administrator_of_some_workspaces_has_no_say_over_members_with_more() {
    let office = Office::open().await;
    let (app, limited) = (&office.app, &office.limited);
    let everywhere = office.owner.colleague(app, "USER", &[]).await;
    let here = office.owner.colleague(app, "USER", &[&office.second]).await;
    for (member, expected) in [
        (&everywhere, 403),
        (&office.owner, 403),
        (&here, 200),
        (limited, 200),
    ] {
        let promotion = json!({"role": "ADMIN"});
        let answer = office.change(limited, member, promotion).await;
        assert_eq!(answer.status.as_u16(), expected, "{}", answer.text);
    }
    for (member, expected) in [(&everywhere, 403), (&office.owner, 403), (&here, 200)] {
        let path = format!("{MEMBERS}/{}", member.user_id);
        let delete = app.request(Method::DELETE, &path);
        let answer = delete.bearer(&limited.access_token).send().await;
        assert_eq!(answer.status.as_u16(), expected, "{}", answer.text);
    }
}

#[tokio::test]
async fn somebody_may_always_open_all_workspaces() {
    let office = Office::open().await;
    let own = json!({"workspaces": [office.owner.workspace_id]});
    let answer = office
        .change(&office.owner, &office.owner, own.clone())
        .await;
    let told = answer.expect_refused(400);
    assert!(told.contains("administrator"), "{told}");
    let all = json!({ "workspaces": null });
    office
        .change(&office.owner, &office.limited, all)
        .await
        .expect(200);
    office
        .change(&office.owner, &office.owner, own)
        .await
        .expect(200);
}

#[tokio::test]
async fn a_user_mints_no_key_that_does_what_administrators_do() {
    let office = Office::open().await;
    let user = office.owner.colleague(&office.app, "USER", &[]).await;
    for (kind, scope) in [
        ("agentplatform", "credentials:write"),
        ("prowpt", "billing:purchase_credits"),
    ] {
        let with = |scopes: Value| json!({"name": "k", "kind": kind, "scopes": scopes});
        let told = office.key(&user, with(json!([scope]))).await;
        assert!(told.expect_refused(403).contains(scope));
        office
            .key(&office.limited, with(json!([scope])))
            .await
            .expect(201);
        let fair = if kind == "prowpt" { "*" } else { "agents:read" };
        let made = office.key(&user, with(json!([fair]))).await.expect(201);
        let path = format!("/api/settings/api-keys/{}", made["id"].as_str().unwrap());
        // Its maker may not add the scope. Nor may an administrator, since it would have no effect on this key.
        for by in [&user, &office.owner] {
            let patch = office.app.request(Method::PATCH, &path);
            let patch = patch.json(json!({"scopes": [fair, scope]}));
            let told = patch.bearer(&by.access_token).send().await;
            assert!(told.expect_refused(403).contains(scope));
        }
    }
}

#[tokio::test]
async fn tenants_lower_the_limit_of_a_key_and_the_operator_raises_it() {
    let app = TestApp::with(|options| {
        options
            .parameter("AgentPlatformLimitPerMinute", "100")
            .parameter("ProwptLimitPerMinute", "60")
    })
    .await;
    let (owner, operator) = (app.register().await, app.register().await);
    operator.make_super_admin(&app).await;
    for (kind, scope, path, limit) in [
        ("agentplatform", "agents:read", "/api/v1/agents", 100),
        ("prowpt", "projects:read", "/api/auth/me", 60),
    ] {
        let create = |rate: u32| {
            let body = json!({"name": "k", "kind": kind, "scopes": [scope], "rate_limit_per_minute": rate});
            app.post("/api/settings/api-keys", body)
                .bearer(&owner.access_token)
                .send()
        };
        for wrong in [0, limit + 1, 100_000] {
            let told = create(wrong).await.expect_refused(422);
            assert!(told.contains("rate_limit_per_minute"), "{told}");
        }
        create(limit).await.expect(201);
        let made = create(limit - 1).await.expect(201);
        let key = made["key"].as_str().unwrap();
        let one = format!("/api/settings/api-keys/{}", made["id"].as_str().unwrap());
        let shown = async || {
            let answer = app.get(path).bearer(key).send().await;
            answer.header("x-ratelimit-limit").to_owned()
        };
        let set = async |session: &str, rate: u32| {
            let patch = app.request(Method::PATCH, &one);
            let patch = patch.json(json!({"rate_limit_per_minute": rate}));
            let patch = patch.header("x-organization-id", &owner.organization_id);
            patch.bearer(session).send().await
        };
        assert_eq!(shown().await, (limit - 1).to_string());
        set(&owner.access_token, limit + 1)
            .await
            .expect_refused(422);
        set(&operator.access_token, 5_000).await.expect(200);
        assert_eq!(shown().await, "5000");
        set(&owner.access_token, 5_001).await.expect_refused(422);
        set(&owner.access_token, 4_000).await.expect(200);
        assert_eq!(shown().await, "4000");
        set(&owner.access_token, 4_001).await.expect_refused(422);
    }
}
