//! A platform that is killed and started again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::fixture::MAX_WAIT;
use crate::process::{Client, Home, Running};

/// The time after `ready` until everything that was interrupted has gone on.
const SOON: Duration = Duration::from_secs(5);

/// An outside service that answers nothing until it is told to.
struct Target {
    host: String,
    state: Arc<Hits>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Hits {
    answers: AtomicBool,
    /// The idempotency keys of the requests to each path.
    keys: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Target {
    async fn start() -> Self {
        let state = Arc::<Hits>::default();
        let router = Router::new().fallback(hit).with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        #[expect(clippy::disallowed_methods, reason = "no Lambda freezes a test")]
        let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self {
            host,
            state,
            server,
        }
    }

    fn keys(&self, path: &str) -> Vec<String> {
        let keys = self.state.keys.lock().unwrap();
        keys.get(path).cloned().unwrap_or_default()
    }

    /// An agent that sends one request here.
    fn agent(&self, method: &str, path: &str) -> Value {
        let request = json!({"method": method, "url": format!("http://{}{path}", self.host)});
        json!({"name": method, "type": "freeform", "config": {
            "instructions": format!("@http_request {request}"),
            "tools": ["http_request"], "allowed_hosts": [self.host],
        }})
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn hit(State(state): State<Arc<Hits>>, uri: Uri, headers: HeaderMap) -> &'static str {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let path = uri.path().to_owned();
    state
        .keys
        .lock()
        .unwrap()
        .entry(path)
        .or_default()
        .push(key);
    if !state.answers.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    "done"
}

async fn start(home: &Home) -> Running {
    // Two places, so that two runs at work keep all others waiting.
    let parameters = [
        "--param",
        "OutboundAllowLoopback=true",
        "--param",
        "RunsAtOncePerOrganization=2",
    ];
    home.start(&parameters).await
}

async fn create(client: &Client, agent: Value) -> String {
    let agent = client.post("/api/v1/agents", agent).await;
    agent["data"]["id"].as_str().unwrap().to_owned()
}

async fn signal(client: &Client, agent: &str) -> String {
    let path = format!("/api/v1/agents/{agent}/signals");
    let body = json!({"type": "go", "payload": {"text": "The cause was a certificate."}});
    let accepted = client.post(&path, body).await;
    accepted["data"]["run_id"].as_str().unwrap().to_owned()
}

async fn run(client: &Client, id: &str) -> Value {
    let shown = client.get(&format!("/api/v1/runs/{id}")).await;
    shown["data"].clone()
}

async fn ended(client: &Client, id: &str, until: Instant) -> Value {
    loop {
        let run = run(client, id).await;
        if ["completed", "failed"].contains(&run["status"].as_str().unwrap()) {
            return run;
        }
        assert!(Instant::now() < until, "still at work: {run}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_killed_platform_has_lost_nothing_and_goes_on_at_once() {
    let home = Home::new();
    let target = Target::start().await;
    let platform = start(&home).await;
    let key = platform.secret("ap_live_");
    let client = Client::new(&platform, &key);

    let (reading, writing) = (target.agent("GET", "/read"), target.agent("POST", "/write"));
    let (reading, writing) = (
        create(&client, reading).await,
        create(&client, writing).await,
    );
    let plain =
        json!({"name": "Plain", "type": "freeform", "config": {"instructions": "Summarise."}});
    let plain = create(&client, plain).await;
    let mut at_work = Vec::new();
    for (agent, path) in [(&reading, "/read"), (&writing, "/write")] {
        at_work.push(signal(&client, agent).await);
        let until = Instant::now() + MAX_WAIT;
        while target.keys(path).is_empty() {
            assert!(Instant::now() < until, "{path} is not called");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(signal(&client, &plain).await);
    }
    assert_eq!(run(&client, &at_work[0]).await["status"], "running");
    assert_eq!(run(&client, &waiting[2]).await["status"], "queued");

    // The end comes in the middle of writing.
    let mut acknowledged = vec![reading, writing, plain];
    let writing = async {
        loop {
            let body = json!({"name": "N", "type": "freeform", "config": {"instructions": "x"}});
            let request = client.request("POST", "/api/v1/agents").json(&body);
            let Ok(response) = request.send().await else {
                break;
            };
            let Ok(agent) = response.json::<Value>().await else {
                break;
            };
            acknowledged.push(agent["data"]["id"].as_str().unwrap().to_owned());
        }
    };
    let killing = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        platform.kill().await;
    };
    tokio::join!(writing, killing);
    assert!(acknowledged.len() > 5, "{}", acknowledged.len());

    target.state.answers.store(true, Ordering::Relaxed);
    let platform = start(&home).await;
    let until = Instant::now() + SOON;
    assert_eq!(platform.greeting, "");
    let client = Client::new(&platform, &key);
    let read = ended(&client, &at_work[0], until).await;
    let written = ended(&client, &at_work[1], until).await;
    for id in &waiting {
        assert_eq!(ended(&client, id, until).await["status"], "completed");
    }

    assert_eq!(read["status"], "completed", "{read}");
    let keys = target.keys("/read");
    assert_eq!(keys.len(), 2, "a request that only reads is repeated");
    assert_eq!(keys[0], keys[1]);
    assert_eq!(written["status"], "failed", "{written}");
    let error = written["error"].to_string();
    assert!(error.contains("outcome unknown"), "{error}");
    assert_eq!(target.keys("/write").len(), 1, "no other is");

    for id in acknowledged {
        client.get(&format!("/api/v1/agents/{id}")).await;
    }
    assert!(platform.stop().await.success());
}
