//! Secrets are handed out once and found nowhere else: not in tables, not in answers.

use std::io::Read;

use aws_sdk_dynamodb::types::AttributeValue;
use flate2::read::DeflateDecoder;
use serde_json::json;
use testkit::{Account, TestApp};

/// Every text of every item of every table.
pub(crate) async fn everything_stored(app: &TestApp) -> String {
    let dynamodb = app.platform.services().dynamodb;
    let tables = dynamodb
        .list_tables()
        .send()
        .await
        .unwrap()
        .table_names
        .unwrap_or_default();
    assert_eq!(tables.len(), 3);
    let mut stored = String::new();
    for table in tables {
        // The platform never scans; a test that looks everywhere has to.
        #[expect(
            clippy::disallowed_methods,
            reason = "looks at everything, once, in a test"
        )]
        let items = dynamodb
            .scan()
            .table_name(&table)
            .send()
            .await
            .unwrap()
            .items
            .unwrap_or_default();
        assert!(!items.is_empty(), "{table}");
        for item in items {
            for value in item.into_values() {
                match value {
                    AttributeValue::S(text) | AttributeValue::N(text) => stored.push_str(&text),
                    // An entity that is compressed.
                    AttributeValue::B(packed) => {
                        DeflateDecoder::new(packed.as_ref())
                            .read_to_string(&mut stored)
                            .unwrap();
                    }
                    other => panic!("an attribute of another kind: {other:?}"),
                }
                stored.push('\n');
            }
        }
    }
    stored
}

#[tokio::test]
async fn planted_secrets_are_in_no_table_and_in_no_later_answer() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let created = app
        .post("/api/api-tokens", json!({"name": "CI"}))
        .bearer(&account.access_token)
        .header("idempotency-key", "k")
        .send()
        .await;
    let created = created.expect(201)["data"].clone();
    let token = created["token"].as_str().unwrap().to_owned();
    let prowpt = account.prowpt_key(&app, &["*"]).await;
    let agentplatform = account
        .agentplatform_key(
            &app,
            &[
                "agents:read",
                "audit_logs:read",
                "credentials:read",
                "credentials:write",
            ],
        )
        .await;
    let provider_key = "sk-planted-0123456789-abcdefgh";
    app.post(
        "/api/v1/credentials",
        json!({"name": "x", "provider": "openai", "secret": provider_key}),
    )
    .bearer(&agentplatform)
    .header("idempotency-key", "c")
    .send()
    .await
    .expect(201);
    let invited = app
        .post(
            "/api/organization/members",
            json!({"email": "grace@example.com"}),
        )
        .bearer(&account.access_token)
        .send()
        .await;
    let invitation = invited.expect(201)["data"]["invitation"]
        .as_str()
        .unwrap()
        .to_owned();
    let secrets = [
        Account::PASSWORD,
        &token,
        &prowpt,
        &agentplatform,
        &account.access_token,
        &account.refresh_token,
        &invitation,
        provider_key,
    ];

    let stored = everything_stored(&app).await;
    for secret in secrets {
        assert!(
            !stored.contains(secret),
            "a secret of {} characters is stored",
            secret.len()
        );
    }
    let id = created["id"].as_str().unwrap();
    for (path, credential) in [
        (format!("/api/api-tokens/{id}"), &account.access_token),
        (
            format!("/api/api-tokens/{id}/audit-logs"),
            &account.access_token,
        ),
        (
            format!("/api/api-tokens/product/{}", account.workspace_id),
            &account.access_token,
        ),
        ("/api/settings/api-keys".to_owned(), &account.access_token),
        (
            "/api/organization/members".to_owned(),
            &account.access_token,
        ),
        ("/api/auth/me".to_owned(), &prowpt),
        ("/api/v1/audit-logs".to_owned(), &agentplatform),
        ("/api/v1/credentials".to_owned(), &agentplatform),
        ("/api/api-token/auth/validate".to_owned(), &token),
    ] {
        let answer = app.get(&path).bearer(credential).send().await;
        assert!(
            secrets.iter().all(|secret| !answer.text.contains(secret)),
            "{path}"
        );
        answer.expect(200);
    }
}
