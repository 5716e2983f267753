//! The DynamoDB units that a run writes: in its table, and in the partitions of each index, which bound runs a second.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use testkit::fakes::Turn;
use testkit::{Call, DynamoDbRecorder, Fixture, eventually};

const WORKER: &str = "ExecutionsWorkerFunction";

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

/// A platform that records what it writes, whose workers hold a run for so many seconds at a time.
async fn start(lease_seconds: &str) -> (Fixture, DynamoDbRecorder) {
    let recorder = DynamoDbRecorder::without_delay();
    let proxy = recorder.proxy();
    let fixture = Fixture::with(|options| {
        let options = local::Options {
            dynamodb_proxy: Some(proxy),
            schedules: false,
            ..options
        };
        options.parameter("RunLeaseSeconds", lease_seconds)
    })
    .await;
    (fixture, recorder)
}

/// The writes of a run's start and of its worker, until it was over.
async fn run(fixture: &Fixture, recorder: &DynamoDbRecorder, agent: &str) -> Vec<Call> {
    recorder.take();
    let input = json!({"text": "Checkout failed at nine. A certificate was the cause."});
    let done = fixture.run_to_end(agent, input).await;
    assert_eq!(done["status"], "completed");
    let mut calls = Vec::new();
    // Beside the end, usage is counted for three, and the run's place is free again.
    let is_beside = |call: &&Call| is_about(call, "#usage") || call.operation == "DeleteItem";
    let all_written = async || {
        calls.extend(recorder.take());
        calls.iter().filter(is_beside).count() >= 4
    };
    eventually("what is written beside the end", all_written).await;
    let is_start = |call: &Call| call.operation == "TransactWriteItems";
    calls.retain(|call| call.caller == WORKER || is_start(call));
    calls
}

#[tokio::test]
async fn a_run_writes_an_index_only_when_it_changes_its_place_there() {
    let (fixture, recorder) = start("30").await;
    let agent = fixture.agent(json!({"instructions": "Summarise."})).await;
    run(&fixture, &recorder, &agent).await;
    let calls = run(&fixture, &recorder, &agent).await;
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
        // In transactions the head twice, its step and its message; and alone the head when it is taken. It ends before it gets into the
        // agent's status.
        ("RecordsTable", 9.0),
    ];
    let expected = expected.map(|(name, units)| (name.to_owned(), units));
    assert_eq!(written(&calls), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_renewal_writes_no_index() {
    let (fixture, recorder) = start("5").await;
    let agent = fixture.requests("GET", &["/after/4500"]);
    let agent = fixture.agent(agent).await;
    let calls = run(&fixture, &recorder, &agent).await;
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
    let (fixture, recorder) = start("30").await;
    fixture.store_credential("openai").await;
    let agent = fixture
        .agent(json!({"instructions": "x", "model": "openai/gpt-5"}))
        .await;
    let words = "one two three four five six seven eight".to_owned();
    let trickling = Turn::Trickling(Duration::from_millis(300), words);
    fixture.models.play([trickling]);
    let calls = run(&fixture, &recorder, &agent).await;
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
