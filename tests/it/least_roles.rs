//! The least role of each operation, walked over all of them by members who have only that, of one workspace alone.

use std::collections::BTreeMap;

use domain::access::{AGENTPLATFORM_SCOPES, PROWPT_SCOPES, Role, least_role};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, TestResponse};

/// The scopes that take an administrator. All others work for every member.
const OF_ADMINISTRATORS: [&str; 2] = ["credentials:write", "billing:purchase_credits"];

#[test]
fn money_and_secrets_take_an_administrator_and_nothing_else_does() {
    for scope in AGENTPLATFORM_SCOPES.iter().chain(&PROWPT_SCOPES) {
        let expected = if OF_ADMINISTRATORS.contains(scope) {
            Role::Admin
        } else {
            Role::User
        };
        assert_eq!(least_role(scope), expected, "{scope}");
    }
}

/// An operation of the documents.
struct Operation {
    method: Method,
    path: String,
    /// The schemes that it takes, with the scopes that a key needs.
    security: Vec<(String, Vec<String>)>,
    /// That the document tells.
    least_role: String,
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    let document = app.get("/swagger.json").send().await.expect(200);
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let requirements = operation["security"].as_array().unwrap().iter();
            let requirements = requirements.flat_map(|it| it.as_object().unwrap());
            let security = requirements.map(|(scheme, scopes)| {
                let scopes = scopes.as_array().unwrap().iter();
                let scopes = scopes.map(|scope| scope.as_str().unwrap().to_owned());
                (scheme.clone(), scopes.collect())
            });
            found.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                security: security.collect(),
                least_role: operation["x-least-role"]
                    .as_str()
                    .unwrap_or("USER")
                    .to_owned(),
            });
        }
    }
    found
}

/// Everything that a member may show.
struct Credentials {
    account: Account,
    session: String,
    prodgy: String,
    prowpt: String,
    agentplatform: String,
}

impl Credentials {
    /// Those of a member who may use `workspace`.
    async fn of(app: &TestApp, account: Account, workspace: &str) -> Self {
        let key = async |kind: &str, scopes: Value| {
            let body =
                json!({"name": "k", "kind": kind, "scopes": scopes, "workspace_id": workspace});
            let post = app.post("/api/settings/api-keys", body);
            let made = post.bearer(&account.access_token).send().await.expect(201);
            made["key"].as_str().unwrap().to_owned()
        };
        let body = json!({"name": "t", "role": "ADMIN", "product_id": workspace});
        let token = app.post("/api/api-tokens", body);
        let token = token.bearer(&account.access_token).send().await.expect(201);
        Self {
            prodgy: token["data"]["token"].as_str().unwrap().to_owned(),
            prowpt: key("prowpt", json!(["*"])).await,
            agentplatform: key("agentplatform", json!(AGENTPLATFORM_SCOPES)).await,
            session: account.access_token.clone(),
            account,
        }
    }

    fn header(&self, scheme: &str) -> (&'static str, String) {
        let bearer = |credential: &str| ("authorization", format!("Bearer {credential}"));
        match scheme {
            "Session" => bearer(&self.session),
            "ProdgyToken" => ("x-api-token", self.prodgy.clone()),
            "ProdgyBearer" => bearer(&self.prodgy),
            "ProwptKey" => ("x-api-key", self.prowpt.clone()),
            "ProwptBearer" => bearer(&self.prowpt),
            "AgentPlatformKey" => bearer(&self.agentplatform),
            other => panic!("{other} is not known here"),
        }
    }

    async fn call(
        &mut self,
        app: &TestApp,
        operation: &Operation,
        path: &str,
    ) -> Vec<TestResponse> {
        let mut answers = Vec::new();
        for (scheme, _) in &operation.security {
            let (name, value) = self.header(scheme);
            let request = app.request(operation.method.clone(), path);
            // The body is not JSON: a caller who may not call is refused before it is read.
            let mut request = request.header(name, &value);
            if operation.method != Method::GET {
                request = request.raw("{");
            }
            answers.push(request.send().await);
            if operation.path == "/api/auth/logout" {
                self.session = self.account.sign_in(app).await;
            }
        }
        answers
    }
}

#[tokio::test]
async fn every_operation_needs_the_role_that_its_document_tells_and_no_other_workspace_opens() {
    let app = TestApp::start().await;
    let owner = app.register().await;
    let second = owner.second_workspace(&app).await;
    let everything = Credentials::of(&app, owner.clone(), &owner.workspace_id).await;
    let things = Things::make(&app, &everything).await;
    let before = things.shown(&app, &everything).await;

    let limited = owner.colleague(&app, "ADMIN", &[&second]).await;
    let mut administrator = Credentials::of(&app, limited, &second).await;
    // Keys with every scope, whose maker has become a plain member.
    let demoted = owner.colleague(&app, "ADMIN", &[&second]).await;
    let mut user = Credentials::of(&app, demoted, &second).await;
    let path = format!("/api/organization/members/{}", user.account.user_id);
    let demote = app.request(Method::PATCH, &path);
    let demote = demote.json(json!({"role": "USER"}));
    demote.bearer(&owner.access_token).send().await.expect(200);

    for operation in operations(&app).await {
        let Operation {
            method,
            path,
            security,
            least_role: least,
        } = &operation;
        let name = format!("{method} {path}");
        for (scheme, scopes) in security {
            if scheme == "AgentPlatformKey" {
                let of_scopes = scopes.iter().map(|scope| least_role(scope)).max();
                assert_eq!(least, of_scopes.unwrap_or(Role::User).as_str(), "{name}");
            }
        }
        let nothing = path
            .replace("{id}", "0193a5c8-7b40-7c6e-9d2f-5b1e8a4c3d70")
            .replace("{executionId}", "0193a5c8-7b40-7c6e-9d2f-5b1e8a4c3d70");
        for (member, role) in [(&mut administrator, "ADMIN"), (&mut user, "USER")] {
            let may = match least.as_str() {
                "USER" => true,
                "ADMIN" => role == "ADMIN",
                _ => false,
            };
            for answer in member.call(&app, &operation, &nothing).await {
                let status = answer.status.as_u16();
                assert_ne!(status, 401, "{name} by {role}: {}", answer.text);
                // What concerns all workspaces is said by name.
                let of_all = answer.text.contains("in all workspaces");
                assert_eq!(
                    status == 403 && !of_all,
                    !may,
                    "{name} by {role}: {}",
                    answer.text
                );
            }
            if let Some(path) = things.path(path) {
                for answer in member.call(&app, &operation, &path).await {
                    let refused = matches!(answer.status.as_u16(), 400 | 403 | 404 | 422);
                    assert!(refused, "{method} {path} by {role}: {}", answer.text);
                    assert!(
                        *method != Method::GET || answer.status == 404,
                        "{method} {path} by {role}: {}",
                        answer.text
                    );
                }
            }
        }
    }
    assert_eq!(things.shown(&app, &everything).await, before);
}

/// The resources in the first workspace, by the prefixes of their paths.
struct Things(BTreeMap<&'static str, String>);

impl Things {
    async fn make(app: &TestApp, owner: &Credentials) -> Self {
        let agent = app.agent(&owner.agentplatform, "x").await;
        let post = async |path: &str, credential: &str, body: Value| {
            let post = app.post(path, body).bearer(credential);
            let made = post.send().await;
            assert!(made.status.is_success(), "{}", made.text);
            let id = made.body["data"]["id"].as_str();
            id.or(made.body["id"].as_str()).unwrap().to_owned()
        };
        let run = json!({"input": {"text": "A sentence."}, "wait": true});
        let executions = format!("/api/agent-base/{agent}/executions");
        let run = post(&executions, &owner.prodgy, run).await;
        let credential = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789"});
        let credential = post("/api/v1/credentials", &owner.agentplatform, credential).await;
        let session = &owner.session;
        let token = post("/api/api-tokens", session, json!({"name": "t"})).await;
        let key = json!({"name": "k", "scopes": ["projects:read"]});
        let key = post("/api/settings/api-keys", session, key).await;
        Self(BTreeMap::from([
            ("/api/v1/agents/", agent.clone()),
            ("/api/agent-base/", agent),
            (
                "/api/agent-base/product/",
                owner.account.workspace_id.clone(),
            ),
            ("/api/v1/runs/", run.clone()),
            ("/api/workflow/", run),
            ("/api/v1/credentials/", credential),
            ("/api/api-tokens/", token),
            (
                "/api/api-tokens/product/",
                owner.account.workspace_id.clone(),
            ),
            ("/api/settings/api-keys/", key),
            ("/api/workspaces/", owner.account.workspace_id.clone()),
        ]))
    }

    /// The path of an operation with the ids of these things, if it names some.
    fn path(&self, pattern: &str) -> Option<String> {
        let (before, after) = pattern.split_once("{id}")?;
        // Of its own organization a member may see the members.
        let id = self.0.get(before)?;
        let run = &self.0["/api/v1/runs/"];
        let after = after.replace("{executionId}", run);
        Some(format!("{before}{id}{after}"))
    }

    /// Their view for their owner.
    async fn shown(&self, app: &TestApp, owner: &Credentials) -> Vec<Value> {
        let mut shown = Vec::new();
        for (path, credential) in [
            ("/api/v1/agents", &owner.agentplatform),
            ("/api/v1/credentials", &owner.agentplatform),
            ("/api/workspaces", &owner.session),
            ("/api/organization", &owner.session),
        ] {
            let listed = app.get(path).bearer(credential).send().await.expect(200);
            shown.push(listed["data"].clone());
        }
        let product = &owner.account.workspace_id;
        for path in [
            format!("/api/api-tokens/product/{product}"),
            "/api/settings/api-keys".to_owned(),
        ] {
            let listed = app
                .get(&path)
                .bearer(&owner.session)
                .send()
                .await
                .expect(200);
            let rows = listed["data"].as_array().or(listed["items"].as_array());
            let of = |row: &Value| json!([row["id"], row["name"], row["status"]]);
            shown.push(rows.unwrap().iter().map(of).collect());
        }
        shown
    }
}
