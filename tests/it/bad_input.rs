//! Bad input of every kind, against every route that takes any: a clear 4xx in its dialect, never a 5xx.

use reqwest::Method;
use serde_json::json;
use testkit::{TestApp, in_this_process};

const SCOPES: &[&str] = &[
    "agents:read",
    "agents:write",
    "runs:read",
    "signals:write",
    "audit_logs:read",
];
const UNKNOWN: &str = "0190f5a0-b1c2-7d3e-8f4a-5b6c7d8e9f00";

#[tokio::test]
async fn bodies_that_are_no_json_are_refused_in_each_dialect() {
    // API Gateway replaces what is not UTF-8 before a function gets to see it.
    let app = TestApp::with(in_this_process).await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    let token = account.prodgy_token(&app).await;
    let deep = format!(
        "{{\"name\":\"x\",\"type\":\"freeform\",\"config\":{}1{}}}",
        "{\"a\":".repeat(300),
        "}".repeat(300)
    );
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));
    let bodies: [(&str, Vec<u8>); 11] = [
        ("nothing", Vec::new()),
        ("not JSON", b"name=x".to_vec()),
        ("cut off", br#"{"name": "x"#.to_vec()),
        ("a list", b"[]".to_vec()),
        ("a number", b"7".to_vec()),
        ("null", b"null".to_vec()),
        (
            "wrong types",
            br#"{"name": 7, "type": {}, "email": [], "scopes": "x", "slug": 1, "password": false}"#
                .to_vec(),
        ),
        (
            "NUL",
            br#"{"name": "a\u0000b", "type": "x\u0000"}"#.to_vec(),
        ),
        ("invalid UTF-8", b"{\"name\": \"\xff\xfe\"}".to_vec()),
        ("deep nesting", deep.into_bytes()),
        ("a string of a megabyte", long.into_bytes()),
    ];
    let routes = [
        (Method::POST, "/api/auth/register", &account.access_token),
        (Method::POST, "/api/auth/login", &account.access_token),
        (Method::POST, "/api/auth/refresh", &account.access_token),
        (Method::POST, "/api/auth/password", &account.access_token),
        (Method::POST, "/api/workspaces", &account.access_token),
        (
            Method::POST,
            "/api/organization/members",
            &account.access_token,
        ),
        (Method::POST, "/api/api-tokens", &account.access_token),
        (
            Method::POST,
            "/api/settings/api-keys",
            &account.access_token,
        ),
        (Method::POST, "/api/agent-base", &token),
        (Method::POST, "/api/agent-base/install", &token),
        (Method::POST, "/api/v1/agents", &key),
    ];
    for (method, path, credential) in &routes {
        for (what, body) in &bodies {
            let answer = app
                .request(method.clone(), path)
                .bearer(credential)
                .raw(body.clone())
                .send()
                .await;
            assert!(
                [400, 413, 422].contains(&answer.status.as_u16()),
                "{what} to {path}: {} {}",
                answer.status,
                answer.text
            );
            answer.expect_refused(answer.status.as_u16());
        }
    }
}

#[tokio::test]
async fn ids_that_are_none_name_nothing() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    let token = account.prodgy_token(&app).await;
    for id in [
        "abc123",
        "%23",
        "a%2Fb",
        "..%2F..%2Fx",
        "%00",
        "%ff",
        "0",
        "-1",
        "%F0%9F%A6%80",
        &"9".repeat(2000),
        UNKNOWN,
    ] {
        for (path, credential) in [
            (format!("/api/v1/agents/{id}"), &key),
            (format!("/api/v1/runs/{id}"), &key),
            (format!("/api/v1/runs/{id}/messages"), &key),
            (format!("/api/agent-base/{id}"), &token),
            (format!("/api/agent-base/{id}/executions"), &token),
            (format!("/api/agent-base/{UNKNOWN}/executions/{id}"), &token),
            (format!("/api/api-tokens/{id}"), &account.access_token),
            (format!("/api/workspaces/{id}"), &account.access_token),
        ] {
            let answer = app.get(&path).bearer(credential).send().await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn dates_that_no_key_has_are_named() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let scopes = [
        "agents:read",
        "agents:write",
        "audit_logs:read",
        "usage:read",
    ];
    let key = account.agentplatform_key(&app, &scopes).await;
    let token = account.prodgy_token(&app).await;
    let agent = app.agent(&key, "x").await;
    let executions = format!("/api/agent-base/{agent}/executions");
    for (path, credential, status) in [
        (executions.as_str(), &token, 400),
        ("/api/v1/audit-logs", &key, 422),
        ("/api/v1/usage", &key, 422),
        (
            "/api/settings/api-keys/activity",
            &account.access_token,
            422,
        ),
    ] {
        for date in [
            "-0002-12-31",
            "1969-12-31",
            "%2B10000-01-05",
            "%2B262142-01-01T00:00:00Z",
            "9999-12-31T23:59:00-05:00",
        ] {
            for name in ["from", "to"] {
                let get = app.get(&format!("{path}?{name}={date}")).bearer(credential);
                let told = get.send().await.expect_refused(status);
                assert!(told.contains(name), "{path} {name}={date}: {told}");
            }
        }
        let widest = app.get(&format!("{path}?from=9999-12-31&to=9999-12-31"));
        widest.bearer(credential).send().await.expect(200);
    }
}

/// A body is taken as JSON only when its content type says so: a web page may send other types to any origin without a preflight.
#[tokio::test]
async fn a_body_that_is_not_said_to_be_json_is_refused_in_each_dialect() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    let token = account.prodgy_token(&app).await;
    let agent = app.agent(&key, "x").await;
    let executions = format!("/api/agent-base/{agent}/executions");
    let signals = format!("/api/v1/agents/{agent}/signals");
    let post = async |path: &str, credential: &str, kind: Option<&str>, body: &str| {
        let request = app.client.post(app.url(path)).bearer_auth(credential);
        let request = request.body(body.to_owned());
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let register = r#"{"email": "a@example.com", "password": "Correct-horse-7", "name": "A"}"#;
    let routes = [
        ("/api/auth/register", "", register, 400),
        (executions.as_str(), &token, r#"{"input": {}}"#, 400),
        (
            "/api/settings/api-keys",
            &account.access_token,
            r#"{"name": "a", "kind": "prowpt", "scopes": ["*"]}"#,
            415,
        ),
        (&signals, &key, r#"{"type": "a"}"#, 415),
    ];
    for (path, credential, body, status) in routes {
        for kind in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=a"),
            Some("text/json"),
        ] {
            let (got, told) = post(path, credential, kind, body).await;
            assert_eq!(got, status, "{path} {kind:?}: {told}");
            assert!(told.contains("application/json"), "{path} {kind:?}: {told}");
        }
        let (got, told) = post(
            path,
            credential,
            Some("application/vnd.ours+json; charset=utf-8"),
            body,
        )
        .await;
        assert!((200..300).contains(&got), "{path}: {got} {told}");
    }
    // Where a body may be left out, its kind may be too.
    let (got, told) = post(&executions, &token, Some("text/plain"), "").await;
    assert_eq!(got, 202, "{told}");
}

#[tokio::test]
async fn wrong_page_parameters_are_named() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    let token = account.prodgy_token(&app).await;
    for (path, credential, status, field) in [
        ("/api/agent-base?page=0", &token, 400, "page"),
        ("/api/agent-base?pageSize=-5", &token, 400, "pageSize"),
        (
            "/api/agent-base?pageSize=1000000000000",
            &token,
            400,
            "pageSize",
        ),
        ("/api/agent-base?limit=201", &token, 400, "limit"),
        ("/api/agent-base?cursor=%00", &token, 400, "cursor"),
        ("/api/agent-base?product_id=7", &token, 400, "product_id"),
        ("/api/v1/agents?limit=0", &key, 422, "limit"),
        ("/api/v1/agents?limit=9999", &key, 422, "limit"),
        ("/api/v1/agents?cursor=next", &key, 422, "cursor"),
        ("/api/v1/audit-logs?from=yesterday", &key, 422, "from"),
        (
            "/api/settings/api-keys?limit=x",
            &account.access_token,
            422,
            "limit",
        ),
        (
            "/api/settings/api-keys?offset=-1",
            &account.access_token,
            422,
            "offset",
        ),
        (
            "/api/settings/api-keys?offset=5000",
            &account.access_token,
            422,
            "offset",
        ),
    ] {
        let told = app
            .get(path)
            .bearer(credential)
            .send()
            .await
            .expect_refused(status);
        assert!(told.contains(field), "{path}: {told}");
    }
}

#[tokio::test]
async fn unknown_paths_methods_and_slashes_are_answered_in_their_dialect() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    for path in ["/nothing", "/api/v1/nothing", "/api/agent-base/x/y/z", "/"] {
        let answer = app.get(path).send().await;
        assert_eq!(answer.status, 404, "{path}");
        // The gateway knows no dialect, so its body serves all three.
        assert!(
            answer.body["message"].is_string()
                && answer.body["detail"].is_string()
                && answer.body["errors"]["detail"].is_string()
        );
    }
    app.request(Method::DELETE, "/api/v1/agents")
        .bearer(&key)
        .send()
        .await
        .expect_refused(405);
    app.get("/api/v1/agents/")
        .bearer(&key)
        .send()
        .await
        .expect(200);
    app.get("/healthz").send().await.expect(200);
    assert_eq!(
        app.get("/healthz/").send().await.body,
        json!({"status": "ok", "service": "signalbox"})
    );
}

#[tokio::test]
async fn credentials_that_are_none_get_one_answer() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let expired = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.e30";
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Basic eDp4",
        "Bearer a.b.c",
        &format!("Bearer {expired}"),
        "Bearer \u{1f980}",
    ] {
        for path in [
            "/api/organization",
            "/api/agent-base",
            "/api/v1/agents",
            "/api/auth/me",
        ] {
            let answer = app
                .client
                .get(app.url(path))
                .header("authorization", value.as_bytes())
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 401, "{value:?} to {path}");
        }
    }
    for path in [
        "/api/organization",
        "/api/agent-base",
        "/api/v1/agents",
        "/api/auth/me",
    ] {
        app.get(path).send().await.expect_refused(401);
    }
    // A session of another key, or one that was tampered with.
    let (head, signature) = account.access_token.rsplit_once('.').unwrap();
    let tampered = format!("{head}.{}", signature.chars().rev().collect::<String>());
    app.get("/api/organization")
        .bearer(&tampered)
        .send()
        .await
        .expect_refused(401);
}

#[tokio::test]
async fn a_wrong_parameter_is_told_to_those_who_may_ask() {
    let app = TestApp::start().await;
    app.get("/api/agent-base?product_id=x")
        .send()
        .await
        .expect_refused(401);
    let account = app.register().await;
    let key = account.agentplatform_key(&app, SCOPES).await;
    app.get("/api/v1/agents?product_id=x")
        .bearer(&key)
        .send()
        .await
        .expect(200);
    app.get("/api/agent-base?product_id=%ff")
        .bearer(&account.access_token)
        .send()
        .await
        .expect_refused(400);
}
