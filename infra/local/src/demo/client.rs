//! The demo as a client of the platform.

use anyhow::{Context, bail, ensure};
use reqwest::Method;
use serde_json::Value;

use super::screen::Screen;

/// So much of a secret may be seen.
const PREFIX: usize = 10;

/// The credentials of requests.
#[derive(Clone)]
pub(super) enum Credential {
    None,
    Session(String),
    Prodgy(String),
    Prowpt(String),
    AgentPlatform(String),
}

impl Credential {
    fn header(&self) -> Option<(&'static str, String)> {
        match self {
            Self::None => None,
            Self::Prodgy(token) => Some(("x-api-token", token.clone())),
            Self::Prowpt(key) => Some(("x-api-key", key.clone())),
            Self::Session(token) | Self::AgentPlatform(token) => {
                Some(("authorization", format!("Bearer {token}")))
            }
        }
    }

    /// The part of it that may be shown.
    fn shown(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Session(_) => "  as the session".to_owned(),
            Self::Prodgy(token) | Self::Prowpt(token) | Self::AgentPlatform(token) => {
                format!("  as {}", prefix(token))
            }
        }
    }
}

/// The start of a secret.
pub(super) fn prefix(secret: &str) -> String {
    let start: String = secret.chars().take(PREFIX).collect();
    format!("{start}...")
}

/// A client that shows what it does.
pub(super) struct Client<'a> {
    http: reqwest::Client,
    url: String,
    pub(super) screen: &'a mut Screen,
}

impl<'a> Client<'a> {
    pub(super) fn new(url: String, screen: &'a mut Screen) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { http, url, screen })
    }

    pub(super) async fn get(
        &mut self,
        path: &str,
        credential: &Credential,
        expected: u16,
    ) -> anyhow::Result<Value> {
        let asked = Asked::new(Method::GET, path, credential);
        self.ask(asked, None, expected).await
    }

    pub(super) async fn post(
        &mut self,
        path: &str,
        credential: &Credential,
        body: &Value,
        expected: u16,
    ) -> anyhow::Result<Value> {
        let asked = Asked::new(Method::POST, path, credential);
        self.ask(asked, Some(body), expected).await
    }

    /// Asks again and again, showing only the last time, until `done`.
    pub(super) async fn get_until(
        &mut self,
        path: &str,
        credential: &Credential,
        done: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        /// The number of attempts, with a pause of `PAUSE`: half a minute in all.
        const ATTEMPTS: usize = 600;
        const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
        for _ in 0..ATTEMPTS {
            let asked = Asked::new(Method::GET, path, credential);
            let (status, text) = self.send(&asked, None).await?;
            ensure!(status == 200, "{path} answered {status}: {text}");
            let body = read(&text)?;
            if done(&body) {
                self.screen.exchange(&asked.shown(), None, status)?;
                return Ok(body);
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{path} did not come to an end in half a minute")
    }

    async fn ask(
        &mut self,
        asked: Asked<'_>,
        body: Option<&Value>,
        expected: u16,
    ) -> anyhow::Result<Value> {
        let (status, text) = self.send(&asked, body).await?;
        self.screen.exchange(&asked.shown(), body, status)?;
        ensure!(
            status == expected,
            "expected {expected}, got {status}: {text}"
        );
        read(&text)
    }

    async fn send(&self, asked: &Asked<'_>, body: Option<&Value>) -> anyhow::Result<(u16, String)> {
        let url = format!("{}{}", self.url, asked.path);
        let mut request = self.http.request(asked.method.clone(), url);
        if let Some((name, value)) = asked.credential.header() {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.context("no answer")?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }
}

struct Asked<'a> {
    method: Method,
    path: &'a str,
    credential: &'a Credential,
}

impl<'a> Asked<'a> {
    fn new(method: Method, path: &'a str, credential: &'a Credential) -> Self {
        Self {
            method,
            path,
            credential,
        }
    }

    fn shown(&self) -> String {
        format!("{} {}{}", self.method, self.path, self.credential.shown())
    }
}

fn read(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).with_context(|| format!("the answer is not JSON: {text}"))
}

/// A text of an answer, which must be there.
pub(super) fn text<'a>(answer: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("there is no text {pointer} in the answer"))
}
