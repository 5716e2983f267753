//! A thousand runs with an effect in the outside world, on a platform that is killed three times in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::process::{Client, Home, Running};

/// Runs whose call may be repeated, and runs whose call must not.
const REPEATABLE: usize = 1000;
const UNREPEATABLE: usize = 250;
/// Requests that are sent at once.
const CLIENTS: usize = 16;
/// The time that all of it may take on a machine that is busy with other tests.
const MAX_WAIT: Duration = Duration::from_secs(240);

/// The number of times that each key of each method has arrived.
type Effects = Arc<Mutex<BTreeMap<(String, String), usize>>>;

/// An outside service that is slow.
struct World {
    host: String,
    effects: Effects,
    server: JoinHandle<()>,
}

impl World {
    async fn start() -> Self {
        let effects = Effects::default();
        let router = Router::new().fallback(take).with_state(effects.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        #[expect(clippy::disallowed_methods, reason = "no Lambda freezes a test")]
        let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self {
            host,
            effects,
            server,
        }
    }

    /// The number of times that each key has arrived by this method.
    fn effects(&self, method: &str) -> Vec<(String, usize)> {
        let effects = self.effects.lock().unwrap();
        let of_method = effects.iter().filter(|((by, _), _)| by == method);
        of_method
            .map(|((_, key), count)| (key.clone(), *count))
            .collect()
    }

    fn total(&self) -> usize {
        self.effects.lock().unwrap().len()
    }

    fn agent(&self, method: &str) -> Value {
        let request = json!({"method": method, "url": format!("http://{}/effect", self.host)});
        json!({"name": method, "type": "freeform", "config": {
            "instructions": format!("@http_request {request}"),
            "tools": ["http_request"], "allowed_hosts": [self.host],
        }})
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(effects): State<Effects>, method: Method, headers: HeaderMap) -> &'static str {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    *effects
        .lock()
        .unwrap()
        .entry((method.to_string(), key))
        .or_default() += 1;
    tokio::time::sleep(Duration::from_millis(20)).await;
    "done"
}

async fn start(home: &Home) -> Running {
    // There is one organization, which has all workers.
    let parameters = [
        "--param",
        "OutboundAllowLoopback=true",
        "--param",
        "RunsAtOncePerOrganization=0",
    ];
    home.start(&parameters).await
}

async fn create(client: &Client, agent: Value) -> String {
    let agent = client.post("/api/v1/agents", agent).await;
    agent["data"]["id"].as_str().unwrap().to_owned()
}

/// All runs of an agent.
async fn runs_of(client: &Client, agent: &str) -> Vec<Value> {
    let mut runs = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/agents/{agent}/runs?limit=200{cursor}");
        let mut page = client.get(&path).await;
        runs.append(page["data"].as_array_mut().unwrap());
        match page["meta"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return runs,
        }
    }
}

#[tokio::test]
async fn a_thousand_runs_outlive_three_kills_without_a_second_effect() {
    let until = Instant::now() + MAX_WAIT;
    let home = Home::new();
    let world = World::start().await;
    let mut platform = start(&home).await;
    let key = platform.secret("ap_live_");
    let client = Client::new(&platform, &key);
    let reading = create(&client, world.agent("GET")).await;
    let writing = create(&client, world.agent("POST")).await;

    let agents = (0..REPEATABLE + UNREPEATABLE).map(|index| {
        let share = (REPEATABLE + UNREPEATABLE) / UNREPEATABLE;
        if index % share == 0 {
            &writing
        } else {
            &reading
        }
    });
    let sent = stream::iter(agents).map(|agent| {
        let client = client.clone();
        async move {
            let path = format!("/api/v1/agents/{agent}/signals");
            let accepted = client
                .post(&path, json!({"type": "go", "payload": {}}))
                .await;
            accepted["data"]["run_id"].as_str().unwrap().to_owned()
        }
    });
    let accepted: BTreeSet<String> = sent.buffer_unordered(CLIENTS).collect().await;
    assert_eq!(accepted.len(), REPEATABLE + UNREPEATABLE);

    // A quarter of what is left at each kill.
    for _ in 0..3 {
        let done = world.total();
        let next = done + (accepted.len() - done) / 4;
        while world.total() < next {
            assert!(Instant::now() < until, "{} effects", world.total());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        platform.kill().await;
        platform = start(&home).await;
    }

    let client = Client::new(&platform, &key);
    let is_over = |run: &Value| ["completed", "failed"].contains(&run["status"].as_str().unwrap());
    let ended = async |agent: &str| loop {
        let runs = runs_of(&client, agent).await;
        let open = runs.iter().filter(|run| !is_over(run)).count();
        if open == 0 {
            return runs;
        }
        assert!(Instant::now() < until, "{open} runs are not over");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let (read, wrote) = (ended(&reading).await, ended(&writing).await);

    let ids = read.iter().chain(&wrote);
    let ids: BTreeSet<_> = ids
        .map(|run| run["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, accepted, "every run that was accepted is there");
    for run in &read {
        assert_eq!(run["status"], "completed", "{run}");
    }
    assert_eq!(world.effects("GET").len(), REPEATABLE, "distinct keys");

    let effects: BTreeMap<_, _> = world.effects("POST").into_iter().collect();
    for (key, count) in &effects {
        assert_eq!(*count, 1, "{key} took effect twice");
    }
    for run in &wrote {
        let key = format!("{}:call_1_1", run["id"].as_str().unwrap());
        match run["status"].as_str().unwrap() {
            "completed" => assert!(effects.contains_key(&key), "{run}"),
            _ => assert!(
                run["error"].as_str().unwrap().contains("outcome unknown"),
                "{run}"
            ),
        }
    }
    let unknown = wrote.iter().filter(|run| run["status"] == "failed").count();
    // A kill leaves in doubt at most what the workers were about to do, which is a run each.
    assert!(unknown <= 3 * 100, "{unknown} runs are in doubt");
    assert!(platform.stop().await.success());
}
