//! The DynamoDB units that a run writes: in its table, and in the partitions of each index, which bound runs a second.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::fakes::{ModelApi, Target, Turn};
use testkit::{Account, Call, DynamoDbRecorder, TestApp, eventually};

const WORKER: &str = "ExecutionsWorkerFunction";

struct Desk {
    app: TestApp,
    recorder: DynamoDbRecorder,
    key: String,
    token: String,
}

impl Desk {
    async fn start() -> Self {
        Self::with_lease("30").await
    }

    async fn with_lease(seconds: &str) -> Self {
        let recorder = DynamoDbRecorder::without_delay();
        let proxy = recorder.proxy();
        let app = TestApp::with(|options| {
            let options = local::Options {
                dynamodb_proxy: Some(proxy),
                schedules: false,
                ..options
            };
            options.parameter("RunLeaseSeconds", seconds)
        })
        .await;
        let account: Account = app.register().await;
        let scopes = ["agents:write", "signals:write", "credentials:write"];
        Self {
            key: account.agentplatform_key(&app, &scopes).await,
            token: account.prodgy_token(&app).await,
            app,
            recorder,
        }
    }

    async fn agent(&self, config: Value) -> String {
        let body = json!({"name": "Agent", "type": "freeform", "config": config});
        let made = self.app.post("/api/v1/agents", body).bearer(&self.key);
        let made = made.send().await.expect(201)["data"]["id"].clone();
        made.as_str().unwrap().to_owned()
    }

    /// The writes of a run's start and of its worker, until it was over.
    async fn run(&self, agent: &str) -> Vec<Call> {
        self.recorder.take();
        let path = format!("/api/agent-base/{agent}/executions");
        let body = json!({"input": {"text": "Checkout failed at nine. A certificate was the cause."}, "wait": true});
        let done = self.app.post(&path, body).bearer(&self.token).send().await;
        assert_eq!(done.expect(200)["data"]["status"], "completed");
        let mut calls = Vec::new();
        // Beside the end, usage is counted for three, and the run's place is free again.
        let is_beside = |call: &&Call| is_about(call, "#usage") || call.operation == "DeleteItem";
        let all_written = async || {
            calls.extend(self.recorder.take());
            calls.iter().filter(is_beside).count() >= 4
        };
        eventually("what is written beside the end", all_written).await;
        let is_start = |call: &Call| call.operation == "TransactWriteItems";
        calls.retain(|call| call.caller == WORKER || is_start(call));
        calls
    }
}

fn is_about(call: &Call, text: &str) -> bool {
    String::from_utf8_lossy(&call.body).contains(text)
}

fn is_write(call: &&Call) -> bool {
    !["GetItem", "BatchGetItem", "Query"].contains(&call.operation.as_str())
}

/// The units that calls wrote in each table and, apart from it, in each index.
fn written(calls: &[Call]) -> BTreeMap<String, f64> {
    let mut units = BTreeMap::new();
    let consumed = calls
        .iter()
        .filter(is_write)
        .flat_map(|call| &call.consumed);
    for table in consumed {
        let name = table["TableName"].as_str().unwrap();
        let name = name.trim_start_matches("signalbox-").to_owned();
        *units.entry(name).or_default() += table["Table"]["CapacityUnits"].as_f64().unwrap();
        let indexes = table["GlobalSecondaryIndexes"].as_object();
        for (index, consumed) in indexes.into_iter().flatten() {
            *units.entry(index.clone()).or_default() += consumed["CapacityUnits"].as_f64().unwrap();
        }
    }
    units
}

#[tokio::test]
async fn a_run_writes_an_index_only_when_it_changes_its_place_there() {
    let desk = Desk::start().await;
    let agent = desk.agent(json!({"instructions": "Summarise."})).await;
    desk.run(&agent).await;
    let calls = desk.run(&agent).await;
    // docs/BENCHMARKS.md derives its bounds from these.
    let expected = [
        // The run and its message, once each.
        ("GSI1", 2.0),
        // The run comes to queued, running and completed, and leaves two of them; its message comes to completed.
        ("GSI2", 6.0),
        // It is due from its start to its end, and stands there as one that has ended.
        ("GSI3", 3.0),
        // It is created, which is its place by age in the workspace.
        ("GSI4", 1.0),
        // The place among the runs of an organization: taken, and left.
        ("CountersTable", 2.0),
        // Two rows of the audit log in transactions, and three counts of what was used.
        ("LogsTable", 7.0),
        // In transactions the head twice, its step and its message; and alone the head when it is taken, and the agent's status when
        // the run begins and ends.
        ("RecordsTable", 11.0),
    ];
    let expected = expected.map(|(name, units)| (name.to_owned(), units));
    assert_eq!(written(&calls), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_renewal_writes_no_index() {
    let desk = Desk::with_lease("5").await;
    let target = Target::start().await;
    let host = target.url().trim_start_matches("http://");
    let request = json!({"method": "GET", "url": format!("{}/after/4500", target.url())});
    let config = json!({
        "instructions": format!("@http_request {request}"),
        "tools": ["http_request"],
        "allowed_hosts": [host],
    });
    let agent = desk.agent(config).await;
    let calls = desk.run(&agent).await;
    let is_alone = |call: &&Call| is_about(call, "2#head") && !is_about(call, "run_step");
    let alone = calls.iter().filter(is_write).filter(is_alone).cloned();
    let mut alone = alone.filter(|call| call.caller == WORKER);
    let taken = alone.next().expect("it was taken");
    assert_eq!(written(&[taken])["GSI2"], 2.0, "it left the queue");
    let renewals: Vec<Call> = alone.collect();
    assert!(renewals.len() >= 2, "{}", renewals.len());
    let written = written(&renewals);
    let indexes = written.keys().filter(|name| name.starts_with("GSI"));
    assert_eq!(indexes.count(), 0, "{written:?}");
}

#[tokio::test]
async fn a_piece_of_an_answer_costs_itself_and_a_small_fence() {
    let desk = Desk::start().await;
    let api = ModelApi::start().await;
    let body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789", "base_url": api.url()});
    let made = desk.app.post("/api/v1/credentials", body);
    made.bearer(&desk.key).send().await.expect(201);
    let agent = desk
        .agent(json!({"instructions": "x", "model": "openai/gpt-5"}))
        .await;
    let words = "one two three four five six seven eight".to_owned();
    api.play([Turn::Trickling(Duration::from_millis(300), words)]);
    let calls = desk.run(&agent).await;
    let pieces: Vec<Call> = calls
        .into_iter()
        .filter(|call| is_about(call, "run_partial"))
        .collect();
    let (with_head, others): (Vec<Call>, Vec<Call>) = pieces
        .into_iter()
        .partition(|call| is_about(call, "2#head"));
    assert_eq!(with_head.len(), 1, "the first one of an answer");
    assert!(others.len() >= 3, "{}", others.len());
    for piece in others {
        let units = written(&[piece]);
        assert_eq!(units, BTreeMap::from([("RecordsTable".to_owned(), 4.0)]));
    }
}
