//! The platform of `template.yaml`, in memory, in this process, with limits that do not get in a test's way.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use local::{Backlog, Options, Platform};
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

/// The time that work which is under way when a test ends may take. What asks a server of the test's own gets no answer then.
const MAX_WORK: Duration = Duration::from_secs(5);

/// A running platform with a client. A test that drops it while work is queued, or is being done, fails, for nothing says then what
/// becomes of that work. [`TestApp::leave_work`] is for tests in which it is meant to stay; a platform without workers, or with a proxy
/// of the test's own before its tables or buckets, is not looked at.
pub struct TestApp {
    unfinished: Unfinished,
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
        // A proxy lives in the test, so that nothing can be finished once the test has ended.
        let has_proxy = options.dynamodb_proxy.is_some() || options.s3_proxy.is_some();
        let is_worked_off = options.event_sources && !has_proxy;
        let platform = Platform::start(options)
            .await
            .unwrap_or_else(|error| panic!("the platform starts: {error:#}"));
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self {
            unfinished: Unfinished {
                backlog: is_worked_off.then(|| platform.backlog()),
            },
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

    /// Waits until no queue holds a message and no function processes one. A test that moves the clock takes a run that is under way
    /// from its worker, and a tick sends a message for the end of that worker's lease.
    pub async fn work_is_done(&self) {
        let backlog = self.platform.backlog();
        eventually("the queues are empty", async || backlog.count().is_empty()).await;
    }

    /// Says that the queues of this platform may hold work when the test ends.
    pub fn leave_work(&mut self) {
        self.unfinished.backlog = None;
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

/// Looks at the queues when a test ends.
struct Unfinished {
    backlog: Option<Backlog>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(backlog) = self.backlog.take().filter(|_| !std::thread::panicking()) else {
            return;
        };
        let until = Instant::now() + MAX_WORK;
        loop {
            let left = backlog.count();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "work is left over: {left:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
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
