//! `/api/v1/credentials`: an organization's keys for providers of models.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{TestApp, TestResponse};

const SECRET: &str = "sk-planted-0123456789-abcd";
const BOTH: &[&str] = &["credentials:read", "credentials:write"];

async fn create(app: &TestApp, key: &str, body: Value) -> TestResponse {
    app.post("/api/v1/credentials", body)
        .bearer(key)
        .send()
        .await
}

fn revoke<'a>(app: &'a TestApp, key: &'a str, id: &str) -> testkit::Request {
    app.request(Method::POST, &format!("/api/v1/credentials/{id}/revoke"))
        .bearer(key)
}

#[tokio::test]
async fn a_credential_is_stored_shown_masked_and_revoked_for_good() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let key = account
        .agentplatform_key(
            &app,
            &["credentials:read", "credentials:write", "audit_logs:read"],
        )
        .await;
    let body = json!({"name": "Production", "provider": "openai", "secret": SECRET, "base_url": "https://llm.example.com/v1/"});
    let created = app
        .post("/api/v1/credentials", body.clone())
        .bearer(&key)
        .header("idempotency-key", "once")
        .send()
        .await;
    let created = created.expect(201)["data"].clone();
    let id = created["id"].as_str().unwrap().to_owned();
    assert_eq!(
        created,
        json!({
            "id": id, "name": "Production", "provider": "openai", "masked": "sk-…abcd", "base_url": "https://llm.example.com/v1",
            "status": "active", "created_at": created["created_at"], "last_used_at": null,
            "scope": "workspace", "workspace_id": account.workspace_id, "default": false,
        })
    );
    let again = app
        .post("/api/v1/credentials", body)
        .bearer(&key)
        .header("idempotency-key", "once")
        .send()
        .await;
    assert_eq!(again.expect(201)["data"], created, "sent again");

    let path = format!("/api/v1/credentials/{id}");
    let shown = app.get(&path).bearer(&key).send().await;
    assert_eq!(shown.expect(200)["data"], created);
    let other = json!({"name": "Other", "provider": "anthropic", "secret": "short-secret"});
    let other = create(&app, &key, other).await.expect(201)["data"].clone();
    assert_eq!(
        (&other["masked"], &other["base_url"]),
        (&json!("…"), &json!(null))
    );

    let mut revoked = created.clone();
    revoked["status"] = json!("revoked");
    for _ in 0..2 {
        let answer = revoke(&app, &key, &id).send().await.expect(200);
        assert_eq!(answer["data"], revoked);
    }
    let listed = app.get("/api/v1/credentials").bearer(&key).send().await;
    assert_eq!(
        listed.expect(200)["data"],
        json!([other, revoked]),
        "newest first"
    );

    let audit = app.get("/api/v1/audit-logs?action=credential.*");
    let audit = audit.bearer(&key).send().await.expect(200);
    let actions: Vec<_> = audit["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["action"], &row["resource"]["id"]))
        .collect();
    assert_eq!(
        actions,
        [
            (&json!("credential.revoked"), &json!(id)),
            (&json!("credential.created"), &other["id"]),
            (&json!("credential.created"), &json!(id)),
        ]
    );
}

#[tokio::test]
async fn wrong_credentials_are_refused_by_field_and_secrets_not_repeated() {
    let app = TestApp::with(|options| options.parameter("OutboundAllowLoopback", "false")).await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, BOTH).await;
    let valid = json!({"name": "x", "provider": "openai", "secret": SECRET});
    let long = format!("https://example.com/{}", "x".repeat(500));
    for (field, wrong) in [
        ("name", json!("")),
        ("provider", json!("builtin")),
        ("provider", json!("OpenAI")),
        ("secret", json!("short")),
        ("secret", json!("sk planted secret")),
        ("secret", json!("sk-\u{e4}-planted-secret")),
        ("secret", json!(null)),
        ("base_url", json!("llm.example.com")),
        ("base_url", json!("http://llm.example.com/v1")),
        ("base_url", json!("https://user:password@llm.example.com")),
        ("base_url", json!("https://10.0.0.1/v1")),
        ("base_url", json!("https://169.254.169.254/latest")),
        ("base_url", json!("http://127.0.0.1:3000")),
        ("base_url", json!("https://llm.example.com/v1?key=1")),
        ("base_url", json!(long)),
        ("bedrock base_url", json!("https://llm.example.com")),
        ("bedrock base_url", json!("http://127.0.0.1:3000")),
        (
            "bedrock base_url",
            json!("https://bedrock-runtime.eu-central-1.amazonaws.com/v1"),
        ),
        (
            "bedrock base_url",
            json!("https://bedrock-runtime.eu-central-1.amazonaws.com.evil.example"),
        ),
    ] {
        let mut body = valid.clone();
        let field = match field.strip_prefix("bedrock ") {
            Some(field) => {
                body["provider"] = json!("bedrock");
                field
            }
            None => field,
        };
        body[field] = wrong.clone();
        let answer = create(&app, &key, body).await;
        let told = answer.expect_refused(422);
        assert!(told.contains(field), "{wrong}: {told}");
        assert!(!answer.text.contains("planted"), "{wrong}: {told}");
    }
    let listed = app.get("/api/v1/credentials").bearer(&key).send().await;
    assert_eq!(listed.expect(200)["data"], json!([]));

    let region = "https://bedrock-runtime.eu-west-1.amazonaws.com";
    let bedrock = json!({"name": "x", "provider": "bedrock", "secret": SECRET, "base_url": region});
    let created = create(&app, &key, bedrock).await.expect(201);
    assert_eq!(created["data"]["base_url"], region);
}

#[tokio::test]
async fn credentials_need_their_scope_and_belong_to_their_organization() {
    let app = TestApp::start().await;
    let (owner, stranger) = (app.register().await, app.register().await);
    let owners = owner.agentplatform_key(&app, BOTH).await;
    let body = json!({"name": "x", "provider": "openai", "secret": SECRET});
    let created = create(&app, &owners, body.clone()).await.expect(201);
    let id = created["data"]["id"].as_str().unwrap();
    let path = format!("/api/v1/credentials/{id}");

    let strangers = stranger.agentplatform_key(&app, BOTH).await;
    app.get(&path)
        .bearer(&strangers)
        .send()
        .await
        .expect_refused(404);
    revoke(&app, &strangers, id)
        .send()
        .await
        .expect_refused(404);
    let listed = app.get("/api/v1/credentials").bearer(&strangers);
    assert_eq!(listed.send().await.expect(200)["data"], json!([]));

    let reader = owner.agentplatform_key(&app, &["credentials:read"]).await;
    let writer = owner.agentplatform_key(&app, &["credentials:write"]).await;
    create(&app, &reader, body).await.expect_refused(403);
    revoke(&app, &reader, id).send().await.expect_refused(403);
    app.get(&path)
        .bearer(&writer)
        .send()
        .await
        .expect_refused(403);
    app.get("/api/v1/credentials")
        .bearer(&writer)
        .send()
        .await
        .expect_refused(403);
    let shown = app.get(&path).bearer(&reader).send().await.expect(200);
    assert_eq!(shown["data"]["status"], "active");
}
