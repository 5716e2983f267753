//! The platform of `template.yaml`, in memory, in this process, with limits that do not get in a test's way.

use std::path::PathBuf;

use local::{Options, Platform};
use reqwest::Method;
use runtime::Clock;
use serde_json::{Value, json};

use crate::{Account, TestResponse, bootstraps, eventually, in_this_process};

/// Limits that a test raises, unless it is about them.
const LIMITS: [&str; 10] = [
    "ProdgyLimitPerMinute",
    "ProdgyStrictLimitPerMinute",
    "ProwptLimitPerMinute",
    "AgentPlatformLimitPerMinute",
    "AccountLimitPerMinute",
    "SignInLimitPerMinute",
    "AccountSignInLimitPerMinute",
    "InvitationLimitPerHour",
    "UnauthenticatedLimitPerMinute",
    "OrganizationLimitPerMinute",
];

/// A running platform with a client.
pub struct TestApp {
    pub platform: Platform,
    pub client: reqwest::Client,
    /// The platform's clock, which a test may move if its functions run in this process: see [`in_this_process`].
    pub clock: Clock,
}

impl TestApp {
    /// Starts a platform whose limits are out of the way.
    pub async fn start() -> Self {
        Self::with(|options| options).await
    }

    /// Starts such a platform with changed options.
    pub async fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let clock = Clock::system();
        let mut options = Options {
            clock: clock.clone(),
            bootstraps: bootstraps::chosen(),
            ..Options::new(Self::template())
        }
        .parameter("OutboundAllowLoopback", "true");
        for limit in LIMITS {
            options = options.parameter(limit, "100000");
        }
        Self::start_with(change(options)).await
    }

    /// Starts a platform with the template's own limits.
    pub async fn with_documented_limits() -> Self {
        // Whose windows a test meets by moving the clock.
        Self::start_with(in_this_process(Options::new(Self::template()))).await
    }

    /// Starts a platform whose clock a test may move, limits out of the way.
    pub async fn with_own_clock() -> Self {
        Self::with(in_this_process).await
    }

    async fn start_with(options: Options) -> Self {
        let clock = options.clock.clone();
        let platform = Platform::start(options)
            .await
            .unwrap_or_else(|error| panic!("the platform starts: {error:#}"));
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self {
            platform,
            client,
            clock,
        }
    }

    /// The project's template.
    pub fn template() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml"))
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.platform.url())
    }

    /// A request without credentials.
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request(self.client.request(method, self.url(path)))
    }

    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: Value) -> Request {
        self.request(Method::POST, path).json(body)
    }

    /// A fresh organization with its administrator.
    pub async fn register(&self) -> Account {
        let email = self.new_email();
        let body = json!({"email": email, "password": Account::PASSWORD, "name": "Ada", "organization": "Analytical Engines"});
        let answer = self.post("/api/auth/register", body).send().await;
        Account::from_answer(email, answer.expect(201)["data"].clone())
    }

    /// An e-mail address that no user has yet.
    pub fn new_email(&self) -> String {
        format!("{}@example.com", uuid())
    }

    /// A freeform agent with these instructions, made with an AgentPlatform key; its id.
    pub async fn agent(&self, key: &str, instructions: &str) -> String {
        let config = json!({ "instructions": instructions });
        let body = json!({"name": "A", "type": "freeform", "config": config});
        let made = self.post("/api/v1/agents", body).bearer(key).send().await;
        let id = made.expect(201)["data"]["id"].clone();
        id.as_str().expect("an id").to_owned()
    }

    /// Runs the tick that a schedule runs once in a minute.
    pub async fn tick(&self) -> Value {
        self.tick_with(json!({})).await
    }

    /// Has the tick count the requests that an account's keys have made, once the request log has `requests` of them. Without this it
    /// leaves the last half minute to the next tick.
    pub async fn count_requests(&self, account: &Account, requests: u64) {
        let session = account.sign_in(self).await;
        let log = "/api/settings/api-keys/activity?limit=1";
        let all_written = async || {
            let log = self.get(log).bearer(&session).send().await.expect(200);
            log["total"] == requests
        };
        eventually("the request log is written", all_written).await;
        self.count_settled_requests().await;
    }

    /// Has the tick count the requests that are in the request log by now.
    pub async fn count_settled_requests(&self) {
        let settled = json!({"settled_before": self.clock.now()});
        self.tick_with(settled).await;
    }

    async fn tick_with(&self, input: Value) -> Value {
        self.platform
            .invoke("TriggersTickFunction", input)
            .await
            .unwrap_or_else(|error| panic!("the tick: {error:#}"))
    }
}

fn uuid() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "user-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A request in the making.
pub struct Request(reqwest::RequestBuilder);

impl Request {
    #[must_use]
    pub fn bearer(self, credential: &str) -> Self {
        self.header("authorization", &format!("Bearer {credential}"))
    }

    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    #[must_use]
    pub fn json(self, body: Value) -> Self {
        Self(self.0.json(&body))
    }

    /// A body as it is, said to be JSON.
    #[must_use]
    pub fn raw(self, body: impl Into<Vec<u8>>) -> Self {
        Self(
            self.0
                .header("content-type", "application/json")
                .body(body.into()),
        )
    }

    pub async fn send(self) -> TestResponse {
        TestResponse::read(self.0.send().await.expect("an answer")).await
    }
}
