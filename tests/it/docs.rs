//! The API documents, and the pages that show them.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp};

/// Everything that a document may refer to has to be there.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                found.insert(reference.to_owned());
            }
            members
                .values()
                .for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Method, path and description of each operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().clone();
        let path = path.clone();
        methods
            .into_iter()
            .map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    };
    paths.iter().flat_map(of).collect()
}

fn names(document: &Value) -> BTreeSet<(String, String)> {
    let operations = operations(document).into_iter();
    operations.map(|(method, path, _)| (method, path)).collect()
}

#[tokio::test]
async fn the_documents_describe_every_operation_of_the_routers_and_only_those() {
    let app = TestApp::start().await;
    let everything = app.get("/swagger.json").send().await.expect(200);
    let agentplatform = app.get("/api/v1/openapi.json").send().await.expect(200);
    let routed: BTreeSet<(String, String)> = crate::template::operations()
        .into_iter()
        .flat_map(|(_, operations)| operations)
        .collect();
    assert_eq!(names(&everything), routed);
    let in_v1 = |(_, path): &&(String, String)| path.starts_with("/api/v1/");
    assert_eq!(
        names(&agentplatform),
        routed.iter().filter(in_v1).cloned().collect()
    );
}

#[tokio::test]
async fn each_operation_tells_its_success_its_errors_and_its_credentials() {
    let app = TestApp::start().await;
    for (path, root) in [("/swagger.json", "."), ("/api/v1/openapi.json", "../..")] {
        let document = app.get(path).send().await.expect(200);
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["servers"][0]["url"], root);
        for tag in document["tags"].as_array().unwrap() {
            assert!(tag["description"].is_string(), "{tag} is not described");
        }
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in found {
            let target = document.pointer(reference.trim_start_matches('#'));
            assert!(target.is_some(), "{path} has no {reference}");
        }
        let mut ids = BTreeSet::new();
        for (method, path, operation) in operations(&document) {
            let name = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id), "{name} shares its operationId");
            assert!(operation["summary"].is_string(), "{name} has no summary");
            let statuses: Vec<&String> =
                operation["responses"].as_object().unwrap().keys().collect();
            let has = |class: &str| statuses.iter().any(|status| status.starts_with(class));
            assert!(has("2") && !has("5"), "{name}: {statuses:?}");
            for response in operation["responses"].as_object().unwrap().values() {
                let described = response["description"].as_str().unwrap_or_default();
                assert!(
                    response["$ref"].is_string() || !described.is_empty(),
                    "{name}"
                );
            }
            let takes_something = operation["security"] != json!([])
                || !operation["parameters"].is_null()
                || !operation["requestBody"].is_null();
            assert_eq!(has("4"), takes_something, "{name}: {statuses:?}");
            for scheme in operation["security"]
                .as_array()
                .unwrap_or_else(|| panic!("{name} does not say who may call it"))
                .iter()
                .flat_map(|requirement| requirement.as_object().unwrap().keys())
            {
                let scheme = &document["components"]["securitySchemes"][scheme];
                assert!(scheme.is_object(), "{name}");
            }
        }
    }
}

/// A request of the operation with ids that name nothing.
async fn try_with(
    app: &TestApp,
    method: &str,
    path: &str,
    header: Option<(&str, String)>,
) -> (u16, Value) {
    let nothing = "0193a5c8-7b40-7c6e-9d2f-5b1e8a4c3d70";
    let path = path
        .replace("{id}", nothing)
        .replace("{executionId}", nothing);
    let mut request = app
        .request(Method::from_bytes(method.as_bytes()).unwrap(), &path)
        .raw("{");
    if let Some((name, value)) = header {
        request = request.header(name, &value);
    }
    let answer = request.send().await;
    (answer.status.as_u16(), answer.body)
}

#[tokio::test]
async fn the_credentials_that_an_operation_names_are_those_that_it_takes() {
    let app = TestApp::start().await;
    let document = app.get("/swagger.json").send().await.expect(200);
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let account = app.register().await;
        // Only a super admin may use all of them.
        account.make_super_admin(&app).await;
        let security = operation["security"].as_array().unwrap();
        let (bare, _) = try_with(&app, &method, &path, None).await;
        if security.is_empty() {
            assert_ne!(bare, 401, "{name} is not open");
            continue;
        }
        assert_eq!(bare, 401, "{name} is open");

        let mut accepted = BTreeSet::new();
        for requirement in security {
            let (scheme, scopes) = requirement.as_object().unwrap().iter().next().unwrap();
            accepted.insert(scheme.as_str());
            let credential = credential(&app, &account, scheme, scopes).await;
            let (status, body) = try_with(&app, &method, &path, Some(credential)).await;
            assert!(
                ![401, 403].contains(&status),
                "{name} with {scheme}: {body}"
            );
            if scheme == "AgentPlatformKey" {
                let wrong = if scopes[0] == "usage:read" {
                    "mcp:read"
                } else {
                    "usage:read"
                };
                let wrong = account.agentplatform_key(&app, &[wrong]).await;
                let header = ("authorization", format!("Bearer {wrong}"));
                let (status, body) = try_with(&app, &method, &path, Some(header)).await;
                assert_eq!(status, 403, "{name} with another scope: {body}");
            }
        }
        if accepted == BTreeSet::from(["Session"]) {
            // Another account, since some operations end the session that they are called with.
            let account = app.register().await;
            let tokens = [
                ("x-api-token", account.prodgy_token(&app).await),
                ("x-api-key", account.prowpt_key(&app, &["*"]).await),
            ];
            for token in tokens {
                let (status, body) = try_with(&app, &method, &path, Some(token)).await;
                assert_eq!(status, 401, "{name} with a token: {body}");
            }
        }
    }
}

async fn credential(
    app: &TestApp,
    account: &Account,
    scheme: &str,
    scopes: &Value,
) -> (&'static str, String) {
    let bearer = |credential: &str| ("authorization", format!("Bearer {credential}"));
    let scopes: Vec<&str> = scopes
        .as_array()
        .unwrap()
        .iter()
        .map(|scope| scope.as_str().unwrap())
        .collect();
    match scheme {
        "Session" => bearer(&account.access_token),
        "ProdgyToken" => ("x-api-token", account.prodgy_token(app).await),
        "ProdgyBearer" => bearer(&account.prodgy_token(app).await),
        "ProwptKey" => ("x-api-key", account.prowpt_key(app, &["*"]).await),
        "ProwptBearer" => bearer(&account.prowpt_key(app, &["*"]).await),
        "AgentPlatformKey" => bearer(&account.agentplatform_key(app, &scopes).await),
        other => panic!("{other} is not known here"),
    }
}

#[tokio::test]
async fn the_explorer_is_served_whole_from_here() {
    let app = TestApp::start().await;
    for page in ["/swagger", "/swagger/", "/api/v1/docs", "/api/v1/docs/"] {
        let answer = app.get(page).send().await;
        assert_eq!(answer.status, 200, "{page}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        assert!(!answer.text.contains("://"), "{page} names another place");

        let base = reqwest::Url::parse(&app.url(page)).unwrap();
        let named: Vec<&str> = ["href=\"", "src=\"", "data-document=\""]
            .iter()
            .flat_map(|attribute| answer.text.split(attribute).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .filter(|address| !address.starts_with("data:"))
            .collect();
        assert_eq!(named.len(), 4, "{named:?}");
        for address in named {
            let url = base.join(address).unwrap();
            let part = app.get(url.path()).send().await;
            assert_eq!(part.status, 200, "{page} asks for {url}");
            let expected = match address.rsplit('.').next() {
                Some("css") => "text/css; charset=utf-8",
                Some("js") => "text/javascript; charset=utf-8",
                _ => "application/json",
            };
            assert_eq!(part.header("content-type"), expected, "{url}");
            assert!(part.header("cache-control").starts_with("public, max-age="));
        }
    }
    for unknown in ["nothing.js", "swagger-ui.css.map", "..%2fstart.js"] {
        let answer = app.get(&format!("/swagger/{unknown}")).send().await;
        answer.expect_refused(404);
    }
}
