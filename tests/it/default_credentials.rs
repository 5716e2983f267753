//! The credentials that runs use: their workspace's own, else the organization's default, which an administrator chose; never one that
//! a member of another workspace stored.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::fakes::ModelApi;
use testkit::{Account, TestApp, TestResponse};

const PATH: &str = "/api/v1/credentials";
const MODEL: &str = "openai/gpt-5";
const MISSING: &str = "openai/gpt-5: there is no active credential for openai";
const SCOPES: [&str; 6] = [
    "agents:read",
    "agents:write",
    "runs:read",
    "credentials:read",
    "credentials:write",
    "audit_logs:read",
];

/// An organization of two workspaces, with its owner's keys to both.
struct Office {
    app: TestApp,
    owner: Account,
    first: String,
    second: String,
    second_workspace: String,
}

impl Office {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let owner = app.register().await;
        let second_workspace = owner.second_workspace(&app).await;
        let first = key(&app, &owner, &owner.workspace_id, &SCOPES).await;
        let second = key(&app, &owner, &second_workspace, &SCOPES).await;
        Self {
            app,
            owner,
            first,
            second,
            second_workspace,
        }
    }

    /// Stores a credential for the service of `api`.
    async fn credential(&self, key: &str, api: &ModelApi, more: Value) -> TestResponse {
        let mut body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789-0123456789", "base_url": api.url()});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let post = self.app.post(PATH, body).bearer(key);
        post.send().await
    }

    async fn call(&self, key: &str, method: Method, path: &str) -> TestResponse {
        let request = self.app.request(method, &format!("{PATH}/{path}"));
        request.bearer(key).send().await
    }

    /// The end of a run of a fresh agent of the key's workspace: `completed`, or its error.
    async fn run(&self, key: &str, more: Value) -> String {
        let mut config = json!({"instructions": "Secret instructions.", "model": MODEL});
        for (name, value) in more.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        let body = json!({"name": "A", "type": "freeform", "config": config});
        let made = self.app.post("/api/v1/agents", body).bearer(key).send();
        let agent = text(&made.await.expect(201)["data"]["id"]);
        let workspace = if key == self.second {
            &self.second_workspace
        } else {
            &self.owner.workspace_id
        };
        let path = format!("/api/agent-base/{agent}/executions?product_id={workspace}");
        let body = json!({"input": {"text": "Go."}, "wait": true});
        let run = self.app.post(&path, body).bearer(&self.owner.access_token);
        let run = run.send().await.expect(200)["data"].clone();
        match run["error"].as_str() {
            Some(error) => error.to_owned(),
            None => text(&run["status"]),
        }
    }
}

async fn key(app: &TestApp, maker: &Account, workspace: &str, scopes: &[&str]) -> String {
    let body =
        json!({"name": "k", "kind": "agentplatform", "scopes": scopes, "workspace_id": workspace});
    let post = app.post("/api/settings/api-keys", body);
    let made = post.bearer(&maker.access_token).send().await.expect(201);
    text(&made["key"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn members_of_one_workspace_take_over_no_models_of_another() {
    let office = Office::open().await;
    let (honest, evil) = (ModelApi::start().await, ModelApi::start().await);
    let owners = office.credential(&office.first, &honest, json!({})).await;
    let owners = text(&owners.expect(201)["data"]["id"]);
    let (app, second) = (&office.app, &office.second_workspace);

    let user = office.owner.colleague(app, "USER", &[second]).await;
    let body = json!({"name": "k", "kind": "agentplatform", "scopes": ["credentials:write"], "workspace_id": second});
    let mint = app.post("/api/settings/api-keys", body);
    let mint = mint.bearer(&user.access_token).send().await;
    assert!(mint.expect_refused(403).contains("credentials:write"));
    let reader = key(app, &user, second, &["credentials:read"]).await;
    let limited = office.owner.colleague(app, "ADMIN", &[second]).await;
    let limited = key(app, &limited, second, &SCOPES).await;

    let organization = json!({"scope": "organization", "default": true});
    for more in [json!({"scope": "organization"}), organization] {
        let told = office.credential(&limited, &evil, more).await;
        assert!(told.expect_refused(403).contains("all workspaces"));
    }
    // An administrator of the second workspace brings in what that one uses, and nothing else.
    let own = office.credential(&limited, &evil, json!({})).await;
    let own = text(&own.expect(201)["data"]["id"]);
    for path in [format!("{own}/default"), format!("{owners}/default")] {
        for method in [Method::POST, Method::DELETE] {
            office
                .call(&limited, method, &path)
                .await
                .expect_refused(403);
        }
    }
    for stranger in [&limited, &reader] {
        let shown = office.call(stranger, Method::GET, &owners).await;
        shown.expect_refused(404);
        let listed = office.call(stranger, Method::GET, "").await.expect(200);
        let ids: Vec<&Value> = listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["id"])
            .collect();
        assert_eq!(ids, [&json!(own)]);
    }
    let revoke = format!("{owners}/revoke");
    let revoked = office.call(&limited, Method::POST, &revoke).await;
    revoked.expect_refused(404);

    assert_eq!(office.run(&office.first, json!({})).await, "completed");
    assert_eq!(
        (honest.take_hits().len(), evil.take_hits().len()),
        (1, 0),
        "the first workspace asks its own service"
    );
    assert_eq!(office.run(&office.second, json!({})).await, "completed");
    assert_eq!((honest.take_hits().len(), evil.take_hits().len()), (0, 1));
    // Nor can an agent name a credential of another workspace.
    let named = json!({ "credential_id": owners });
    assert_eq!(office.run(&office.second, named).await, MISSING);
}

#[tokio::test]
async fn what_all_workspaces_use_is_chosen_by_an_administrator_and_by_nothing_else() {
    let office = Office::open().await;
    let (old, new) = (ModelApi::start().await, ModelApi::start().await);
    let asked = || (old.take_hits().len(), new.take_hits().len());
    let for_all = json!({"scope": "organization"});
    let created = office
        .credential(&office.first, &old, for_all.clone())
        .await;
    let created = created.expect(201)["data"].clone();
    assert_eq!(
        (
            &created["scope"],
            &created["workspace_id"],
            &created["default"]
        ),
        (&json!("organization"), &json!(null), &json!(false))
    );
    let chosen = text(&created["id"]);
    assert_eq!(office.run(&office.second, json!({})).await, MISSING);
    let named = json!({ "credential_id": chosen });
    assert_eq!(office.run(&office.second, named.clone()).await, "completed");
    assert_eq!(asked(), (1, 0));

    for _ in 0..2 {
        let default = format!("{chosen}/default");
        let made = office.call(&office.first, Method::POST, &default).await;
        assert_eq!(made.expect(200)["data"]["default"], true);
    }
    // A newer one of the organization decides nothing.
    let newer = office.credential(&office.first, &new, for_all).await;
    let newer = text(&newer.expect(201)["data"]["id"]);
    for key in [&office.first, &office.second] {
        assert_eq!(office.run(key, json!({})).await, "completed");
        assert_eq!(asked(), (1, 0));
    }
    // A workspace's own comes first, the newest of several, and only there.
    let own = office.credential(&office.second, &new, json!({})).await;
    let own = own.expect(201)["data"].clone();
    assert_eq!(own["workspace_id"], json!(office.second_workspace));
    assert_eq!(office.run(&office.second, json!({})).await, "completed");
    assert_eq!(asked(), (0, 1));
    assert_eq!(office.run(&office.first, json!({})).await, "completed");
    assert_eq!(asked(), (1, 0));
    let revoke = format!("{}/revoke", text(&own["id"]));
    let revoked = office.call(&office.second, Method::POST, &revoke);
    revoked.await.expect(200);
    assert_eq!(office.run(&office.second, json!({})).await, "completed");
    assert_eq!(asked(), (1, 0));

    // A default that is revoked is not replaced by itself.
    let revoke = format!("{chosen}/revoke");
    let revoked = office.call(&office.first, Method::POST, &revoke).await;
    assert_eq!(revoked.expect(200)["data"]["default"], true);
    assert_eq!(office.run(&office.first, json!({})).await, MISSING);
    let again = format!("{chosen}/default");
    let removed = office.call(&office.first, Method::DELETE, &again).await;
    assert_eq!(removed.status, 204);
    let told = office.call(&office.first, Method::POST, &again).await;
    assert!(told.expect_refused(422).contains("revoked"));
    let default = format!("{newer}/default");
    let made = office.call(&office.first, Method::POST, &default).await;
    made.expect(200);
    assert_eq!(office.run(&office.first, json!({})).await, "completed");
    assert_eq!(asked(), (0, 1));
    for _ in 0..2 {
        let removed = office.call(&office.first, Method::DELETE, &default).await;
        assert_eq!(removed.status, 204);
    }
    assert_eq!(office.run(&office.first, json!({})).await, MISSING);

    let log = office
        .app
        .get("/api/v1/audit-logs?action=credential.*")
        .bearer(&office.second);
    let log = log.send().await.expect(200);
    let actions: Vec<&str> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["action"].as_str())
        .filter(|action| action.contains("default"))
        .collect();
    let (made, removed) = ("credential.made_default", "credential.default_removed");
    assert_eq!(actions, [removed, made, removed, made]);
}

#[tokio::test]
async fn a_credential_may_be_made_the_default_at_once_but_not_one_of_a_workspace() {
    let office = Office::open().await;
    let api = ModelApi::start().await;
    for (more, field) in [
        (json!({"default": true}), "default"),
        (json!({"scope": "workspace", "default": true}), "default"),
        (json!({"scope": "everybody"}), "scope"),
        (json!({"scope": "organization", "default": 1}), "default"),
    ] {
        let told = office.credential(&office.first, &api, more).await;
        assert!(told.expect_refused(422).contains(field), "{}", told.text);
    }
    let own = office.credential(&office.first, &api, json!({})).await;
    let own = format!("{}/default", text(&own.expect(201)["data"]["id"]));
    let told = office.call(&office.first, Method::POST, &own).await;
    assert!(told.expect_refused(422).contains("belongs to a workspace"));

    let at_once = json!({"scope": "organization", "default": true});
    let made = office.credential(&office.first, &api, at_once).await;
    assert_eq!(made.expect(201)["data"]["default"], true);
    assert_eq!(office.run(&office.second, json!({})).await, "completed");

    let stranger = office.app.register().await;
    let stranger = stranger.agentplatform_key(&office.app, &SCOPES).await;
    for method in [Method::POST, Method::DELETE] {
        let told = office.call(&stranger, method, &own).await;
        told.expect_refused(404);
    }
}

#[tokio::test]
async fn a_user_sees_the_own_workspaces_credentials_and_the_defaults_by_name() {
    let office = Office::open().await;
    let (app, api) = (&office.app, ModelApi::start().await);
    let mut ids = Vec::new();
    for (maker, more) in [
        (&office.second, json!({"name": "own, older"})),
        (&office.first, json!({"name": "not theirs"})),
        (
            &office.first,
            json!({"name": "of all", "scope": "organization"}),
        ),
        (
            &office.first,
            json!({"name": "default", "scope": "organization", "default": true}),
        ),
        (&office.second, json!({"name": "own, newer"})),
    ] {
        let made = office.credential(maker, &api, more).await.expect(201);
        ids.push(text(&made["data"]["id"]));
    }
    let second = &office.second_workspace;
    let user = office.owner.colleague(app, "USER", &[second]).await;
    let limited = office.owner.colleague(app, "ADMIN", &[second]).await;
    for (member, scopes) in [(&user, &SCOPES[3..4]), (&limited, &SCOPES[3..5])] {
        let key = key(app, member, second, scopes).await;
        let listed = office.call(&key, Method::GET, "").await.expect(200);
        let shown: Vec<(&str, &str, &Value)> = listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                let masked = it["masked"].as_str().unwrap();
                (it["name"].as_str().unwrap(), masked, &it["base_url"])
            })
            .collect();
        let (masked, url) = ("sk-…6789", &json!(api.url()));
        assert_eq!(
            shown,
            [
                ("own, newer", masked, url),
                ("default", "…", &json!(null)),
                ("own, older", masked, url),
            ]
        );
        // The same, piece by piece.
        for limit in 1..=3 {
            let (mut paged, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("{PATH}?limit={limit}{cursor}");
                let page = app.get(&path).bearer(&key).send().await.expect(200);
                let rows = page["data"].as_array().unwrap().clone();
                assert!(rows.len() <= limit, "{page}");
                paged.extend(rows);
                match page["meta"]["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(json!(paged), listed["data"], "limit={limit}");
        }
        for (id, expected) in ids.iter().zip([200, 404, 404, 200, 200]) {
            let shown = office.call(&key, Method::GET, id).await;
            assert_eq!(shown.status.as_u16(), expected, "{}", shown.text);
        }
    }
    let all = office.call(&office.second, Method::GET, "").await;
    assert_eq!(all.expect(200)["data"].as_array().unwrap().len(), 5);
    let revoke = format!("{}/revoke", ids[3]);
    let limited = key(app, &limited, second, &SCOPES).await;
    let told = office.call(&limited, Method::POST, &revoke).await;
    assert!(told.expect_refused(403).contains("all workspaces"));
}
