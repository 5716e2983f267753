//! Secrets and people's texts, planted and looked for: in everything that is logged at the noisiest level, in everything
//! that is answered, and in every file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::process::{Home, Running};

const PASSWORD: &str = "Canary-password-7f3a";
const MISTYPED: &str = "Canary-mistyped-91bd";
const PROMPT: &str = "canaryprompt5c2e";
const INPUT: &str = "canaryinput80aa";
const EMAIL: &str = "canary-email-44d1@example.com";
const GUEST: &str = "canary-guest-9e07@example.com";
const QUERY: &str = "canaryquery3b6f";

/// The planted texts, by their kinds.
#[derive(Default)]
struct Planted {
    /// Handed out or taken in once, and never shown again.
    secrets: BTreeMap<&'static str, String>,
    /// Every answer that hands out no secret.
    answers: Vec<(String, String)>,
}

impl Planted {
    fn secret(&mut self, name: &'static str, value: &Value) -> String {
        let text = value.as_str().unwrap_or_else(|| panic!("{name}: {value}"));
        assert!(text.len() >= 20, "{name} is too short to be looked for");
        self.secrets.insert(name, text.to_owned());
        text.to_owned()
    }
}

/// Sends requests, each with an idempotency key of its own.
struct Caller<'a> {
    http: reqwest::Client,
    platform: &'a Running,
    sent: AtomicU32,
}

impl Caller<'_> {
    async fn send(
        &self,
        credential: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (StatusCode, HeaderMap, String) {
        let url = format!("{}{path}", self.platform.url);
        let mut request = self.http.request(method.parse().unwrap(), url);
        if !credential.is_empty() {
            request = request.bearer_auth(credential);
        }
        if !body.is_null() {
            let key = self.sent.fetch_add(1, Ordering::Relaxed);
            request = request.header("idempotency-key", key).json(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, response.text().await.unwrap())
    }

    /// Sends what is answered with a secret.
    async fn obtain(&self, credential: &str, path: &str, body: Value) -> Value {
        let (status, _, answer) = self.send(credential, "POST", path, &body).await;
        assert!(status.is_success(), "{path}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        // Prowpt's answers have no envelope.
        answer.get("data").unwrap_or(&answer).clone()
    }

    /// Sends what is answered without one.
    async fn note(
        &self,
        planted: &mut Planted,
        credential: &str,
        method: &str,
        path: &str,
        body: Value,
    ) {
        let (_, headers, answer) = self.send(credential, method, path, &body).await;
        let all = format!("{headers:?} {answer}");
        planted.answers.push((format!("{method} {path}"), all));
    }
}

#[tokio::test]
async fn planted_secrets_are_in_no_log_no_later_answer_and_no_file() {
    let home = Home::new();
    let platform = home.start(&["--log", "trace"]).await;
    let mut planted = play(&platform).await;
    assert!(platform.stop().await.success());

    // The commands that show a secret log no more of it.
    for (name, arguments) in [
        (
            "token of the command",
            ["token", "create", "--log", "trace"],
        ),
        (
            "password of the command",
            ["admin", "reset-password", "--log", "trace"],
        ),
    ] {
        let output = home.run(&arguments).await;
        assert!(output.status.success(), "{output:?}");
        let shown = String::from_utf8(output.stdout).unwrap();
        let secret = planted.secret(name, &json!(shown.trim()));
        assert!(find(&output.stderr, &secret).is_none(), "{name}");
    }

    let kept = fs::read_to_string(home.data().join("secrets.json")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let master = &kept["signalbox-MasterSecret"]["current"]["text"];
    planted.secret("master secret", master);

    let errors = home.errors();
    assert!(find(&errors, "request handled").is_some());
    for (name, secret) in &planted.secrets {
        if let Some(line) = find(&errors, secret) {
            panic!("logged: {name} in {line}");
        }
        for (request, answer) in &planted.answers {
            assert!(!answer.contains(secret), "{name} answers {request}");
        }
        for file in files(&home.data()) {
            let content = fs::read(&file).unwrap();
            let found = find(&content, secret).is_some();
            assert!(
                !found || file.ends_with("secrets.json"),
                "{name} is in {}",
                file.display()
            );
        }
    }
    // A file would show what it has: people's texts are stored, and only not logged.
    let mut stored = files(&home.data())
        .into_iter()
        .map(|file| fs::read(file).unwrap());
    assert!(stored.any(|content| find(&content, PROMPT).is_some()));
    for text in [PROMPT, INPUT, EMAIL, GUEST, QUERY] {
        if let Some(line) = find(&errors, text) {
            panic!("logged: {line}");
        }
    }

    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.data()), 0o700);
    assert_eq!(mode(home.data().join("secrets.json")), 0o600);
}

/// Plants what is to be looked for.
async fn play(platform: &Running) -> Planted {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let caller = Caller {
        http,
        platform,
        sent: AtomicU32::new(0),
    };
    let mut planted = Planted::default();
    let shown = &json!(platform.line("sign in").rsplit(' ').next());
    planted.secret("first password", shown);
    let prodgy = planted.secret("first Prodgy token", &json!(platform.secret("prodgy_")));
    let prowpt = planted.secret("first Prowpt key", &json!(platform.secret("pk_live_")));
    let agentplatform = json!(platform.secret("ap_live_"));
    let agentplatform = planted.secret("first AgentPlatform key", &agentplatform);

    planted.secret("password", &json!(PASSWORD));
    planted.secret("mistyped password", &json!(MISTYPED));
    let body = json!({"email": EMAIL, "password": PASSWORD, "name": "Ada"});
    let account = caller.obtain("", "/api/auth/register", body).await;
    planted.secret("access token", &account["access_token"]);
    planted.secret("refresh token", &account["refresh_token"]);
    let body = json!({"email": EMAIL, "password": MISTYPED});
    caller
        .note(&mut planted, "", "POST", "/api/auth/login", body)
        .await;
    let body = json!({"email": EMAIL, "password": PASSWORD});
    let account = caller.obtain("", "/api/auth/login", body).await;
    let session = planted.secret("second access token", &account["access_token"]);
    let body = json!({"refresh_token": account["refresh_token"]});
    planted.secret("second refresh token", &account["refresh_token"]);
    let refreshed = caller.obtain("", "/api/auth/refresh", body).await;
    planted.secret("third refresh token", &refreshed["refresh_token"]);

    let members = "/api/organization/members";
    let invited = caller
        .obtain(&session, members, json!({"email": GUEST}))
        .await;
    let invitation = planted.secret("invitation", &invited["invitation"]);
    let body =
        json!({"email": GUEST, "password": PASSWORD, "name": "Grace", "invitation": invitation});
    caller.obtain("", "/api/auth/register", body).await;
    let created = caller
        .obtain(&session, "/api/api-tokens", json!({"name": "CI"}))
        .await;
    planted.secret("token", &created["token"]);
    let path = format!("/api/api-tokens/{}", created["id"].as_str().unwrap());
    let regenerated = caller
        .obtain(&session, &format!("{path}/regenerate"), json!({}))
        .await;
    planted.secret("regenerated token", &regenerated["token"]);
    for (name, kind, scope) in [
        ("Prowpt key", "prowpt", "*"),
        ("AgentPlatform key", "agentplatform", "agents:read"),
    ] {
        let body = json!({"name": "x", "kind": kind, "scopes": [scope]});
        let created = caller
            .obtain(&session, "/api/settings/api-keys", body)
            .await;
        planted.secret(name, &created["key"]);
    }

    let body = json!({"name": "A", "type": "freeform", "config": {"instructions": format!("Say {PROMPT}.")}});
    let agent = caller.obtain(&agentplatform, "/api/v1/agents", body).await["id"].clone();
    let agent = agent.as_str().unwrap();
    let executions = format!("/api/agent-base/{agent}/executions");
    let body = json!({"wait": true, "input": {"text": format!("It was {INPUT}.")}});
    caller
        .note(&mut planted, &prodgy, "POST", &executions, body)
        .await;
    let unknown = planted.secret(
        "unknown token",
        &json!("prodgy_Canary9Jf2kL9mP3qR4sT5uV6wX7yZ8aB"),
    );
    for (credential, path) in [
        (&prodgy, "/api/agent-base"),
        (&prodgy, executions.as_str()),
        (&prodgy, "/api/api-token/auth/validate"),
        (&unknown, "/api/agent-base"),
        (&prowpt, "/api/auth/me"),
        (&agentplatform, "/api/v1/audit-logs"),
        (&agentplatform, &format!("/api/v1/agents?cursor={QUERY}")),
        (&session, members),
        (&session, "/api/organization"),
        (&session, "/api/settings/api-keys"),
        (&session, &path),
        (&session, &format!("{path}/audit-logs")),
        (&session, "/no/such/route"),
    ] {
        caller
            .note(&mut planted, credential, "GET", path, Value::Null)
            .await;
    }
    // What is not understood is not shown either.
    let body = json!({"email": EMAIL, "password": [PASSWORD]});
    caller
        .note(&mut planted, "", "POST", "/api/auth/register", body)
        .await;
    planted
}

/// The text before `text`, if that is there.
fn find(content: &[u8], text: &str) -> Option<String> {
    let at = content
        .windows(text.len())
        .position(|window| window == text.as_bytes())?;
    let start = at.saturating_sub(600);
    Some(String::from_utf8_lossy(&content[start..at]).into_owned())
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
