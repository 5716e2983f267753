//! Organizations that share the workers. No tick helps: a worker that leaves a place finds the run that waits for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::fakes::Target;
use testkit::{TestApp, eventually, in_this_process};

/// An organization with agents.
struct Tenant {
    key: String,
    token: String,
}

async fn start(parameters: &[(&str, &str)]) -> TestApp {
    TestApp::with(|options| {
        let options = local::Options {
            schedules: false,
            ..in_this_process(options)
        };
        let parameters = parameters.iter();
        parameters.fold(options, |options, (name, value)| {
            options.parameter(*name, *value)
        })
    })
    .await
}

impl Tenant {
    async fn new(app: &TestApp) -> Self {
        let account = app.register().await;
        let scopes = ["agents:write", "runs:read", "signals:write"];
        Self {
            key: account.agentplatform_key(app, &scopes).await,
            token: account.prodgy_token(app).await,
        }
    }

    async fn agent(&self, app: &TestApp, config: Value) -> String {
        let body = json!({"name": "Agent", "type": "freeform", "config": config});
        let made = app.post("/api/v1/agents", body).bearer(&self.key);
        let made = made.send().await.expect(201)["data"]["id"].clone();
        made.as_str().unwrap().to_owned()
    }

    /// An agent that makes one request.
    async fn requester(&self, app: &TestApp, target: &Target, path: &str) -> String {
        let request = json!({"url": format!("{}{path}", target.url()), "timeout_seconds": 20});
        let config = json!({
            "instructions": format!("@http_request {request}"),
            "tools": ["http_request"],
            "allowed_hosts": [target.url().trim_start_matches("http://")],
        });
        self.agent(app, config).await
    }

    /// An agent that starts a run of another and waits for it, `times` times.
    async fn delegator(&self, app: &TestApp, to: &str, times: usize) -> String {
        let call = format!("@trigger_agent {}", json!({"agent": to, "wait": true}));
        let config = json!({
            "instructions": vec![call; times].join("\n"),
            "tools": ["trigger_agent"],
            "allowed_agents": [to],
        });
        self.agent(app, config).await
    }

    async fn signal(&self, app: &TestApp, agent: &str) -> String {
        let path = format!("/api/v1/agents/{agent}/signals");
        let sent = app.post(&path, json!({"type": "go"})).bearer(&self.key);
        let sent = sent.send().await.expect(202);
        sent["data"]["run_id"].as_str().unwrap().to_owned()
    }

    async fn run(&self, app: &TestApp, id: &str) -> Value {
        let path = format!("/api/v1/runs/{id}");
        let shown = app.get(&path).bearer(&self.key).send().await;
        shown.expect(200)["data"].clone()
    }

    async fn ended(&self, app: &TestApp, id: &str, within: Duration) -> Value {
        let until = Instant::now() + within;
        loop {
            let run = self.run(app, id).await;
            if !["queued", "running"].contains(&run["status"].as_str().unwrap()) {
                return run;
            }
            assert!(Instant::now() < until, "still at work: {run}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn control(&self, app: &TestApp, run: &str, what: &str) -> Value {
        let path = format!("/api/workflow/{run}/{what}");
        let done = app.post(&path, json!({})).bearer(&self.token).send().await;
        done.expect(200)["data"].clone()
    }
}

async fn until_hit(target: &Target, times: usize) {
    eventually("so many requests", async || target.hits().len() >= times).await;
}

#[tokio::test]
async fn one_organizations_slow_runs_hold_up_no_other_and_all_of_them_end() {
    const RUNS: usize = 60;
    let places = [
        ("RunsAtOncePerOrganization", "6"),
        ("WorkerConcurrency", "20"),
    ];
    let (app, target) = (start(&places).await, Target::start().await);
    let (flood, victim) = (Tenant::new(&app).await, Tenant::new(&app).await);
    let slow = flood.requester(&app, &target, "/after/1500").await;
    let quick = victim.agent(&app, json!({"instructions": "x"})).await;
    let begun = Instant::now();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(flood.signal(&app, &slow).await);
    }
    until_hit(&target, 1).await;
    while target.hits().len() < RUNS / 2 {
        let run = victim.signal(&app, &quick).await;
        let run = victim.ended(&app, &run, Duration::from_secs(2)).await;
        assert_eq!(run["status"], "completed", "{run}");
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{:?}",
            target.hits().len()
        );
    }
    for run in &runs {
        let run = flood.ended(&app, run, Duration::from_secs(60)).await;
        assert_eq!(run["status"], "completed", "{run}");
    }
    assert_eq!(target.hits().len(), RUNS, "each once");
    assert!(target.most_at_once() <= 6, "{}", target.most_at_once());
    // Ten rounds of 1.5 seconds; a place that no run took over would cost a round.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn four_hundred_runs_of_nineteen_seconds_leave_room_for_a_quick_one() {
    let (mut app, target) = (start(&[]).await, Target::start().await);
    app.leave_work();
    let (flood, victim) = (Tenant::new(&app).await, Tenant::new(&app).await);
    let slow = flood.requester(&app, &target, "/after/19000").await;
    let quick = victim.agent(&app, json!({"instructions": "x"})).await;
    for sent in 0..400 {
        flood.signal(&app, &slow).await;
        if sent % 40 == 39 {
            let run = victim.signal(&app, &quick).await;
            let run = victim.ended(&app, &run, Duration::from_secs(2)).await;
            assert_eq!(run["status"], "completed", "{run}");
        }
    }
    assert_eq!(target.most_at_once(), 20, "as many as it has places");
}

#[tokio::test]
async fn a_run_lends_its_place_to_the_run_it_waits_for() {
    let (app, target) = (
        start(&[("RunsAtOncePerOrganization", "1")]).await,
        Target::start().await,
    );
    let tenant = Tenant::new(&app).await;
    let leaf = tenant.requester(&app, &target, "/after/300").await;
    let middle = tenant.delegator(&app, &leaf, 2).await;
    let top = tenant.delegator(&app, &middle, 1).await;
    let (first, second) = (
        tenant.signal(&app, &top).await,
        tenant.signal(&app, &top).await,
    );
    for run in [first, second] {
        let run = tenant.ended(&app, &run, Duration::from_secs(40)).await;
        assert_eq!(run["status"], "completed", "{run}");
        let told = run["output"].to_string();
        assert!(told.contains("completed"), "it has the result: {told}");
    }
    assert_eq!(target.hits().len(), 4);
    assert_eq!(target.most_at_once(), 1);
}

#[tokio::test]
async fn children_that_outlast_their_parents_patience_take_no_more_places() {
    let (mut app, target) = (
        start(&[("RunsAtOncePerOrganization", "2")]).await,
        Target::start().await,
    );
    // Children go on after their parents.
    app.leave_work();
    let tenant = Tenant::new(&app).await;
    // Longer than a call waits.
    let leaf = tenant.requester(&app, &target, "/after/12000").await;
    let parent = tenant.delegator(&app, &leaf, 1).await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(tenant.signal(&app, &parent).await);
    }
    for run in &runs {
        let run = tenant.ended(&app, run, Duration::from_secs(90)).await;
        assert_eq!(run["status"], "completed", "{run}");
    }
    until_hit(&target, 4).await;
    assert!(target.most_at_once() <= 2, "{}", target.most_at_once());
}

#[tokio::test]
async fn a_run_that_is_stopped_or_paused_leaves_its_place_to_the_next() {
    let parameters = [("RunsAtOncePerOrganization", "1"), ("RunLeaseSeconds", "5")];
    let (app, target) = (start(&parameters).await, Target::start().await);
    let tenant = Tenant::new(&app).await;
    let slow = tenant.requester(&app, &target, "/after/15000").await;
    let quick = tenant.agent(&app, json!({"instructions": "x"})).await;

    // One of those that wait is stopped as well: its turn is passed over.
    let stopped = tenant.signal(&app, &slow).await;
    until_hit(&target, 1).await;
    let (also, next) = (
        tenant.signal(&app, &slow).await,
        tenant.signal(&app, &quick).await,
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(tenant.run(&app, &next).await["status"], "queued");
    for run in [&also, &stopped] {
        assert_eq!(tenant.control(&app, run, "stop").await["status"], "stopped");
    }
    let next = tenant.ended(&app, &next, Duration::from_secs(8)).await;
    assert_eq!(next["status"], "completed", "{next}");
    assert_eq!(target.hits().len(), 1);

    let two = tenant.requester(&app, &target, "/after/1000").await;
    let paused = tenant.signal(&app, &two).await;
    until_hit(&target, 2).await;
    let next = tenant.signal(&app, &quick).await;
    let state = tenant.control(&app, &paused, "pause").await;
    assert!(
        ["paused", "completed"].contains(&state["status"].as_str().unwrap()),
        "{state}"
    );
    let next = tenant.ended(&app, &next, Duration::from_secs(8)).await;
    assert_eq!(next["status"], "completed", "{next}");
}
