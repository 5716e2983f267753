//! Runs whose store fails for a while.

use std::time::{Duration, Instant};

use domain::ids::{RunId, WorkspaceId};
use domain::run::{StreamChunk, StreamChunkEvent};
use serde_json::{Value, json};
use store::{EventCursor, JournalEntry, Store};
use testkit::fakes::{ModelApi, Target, Turn};
use testkit::{Account, Calls, DynamoDbFaults, Fault, TestApp, eventually};

const WORKER: &str = "ExecutionsWorkerFunction";
/// The time in which an undisturbed run ends on a busy machine.
const SOON: Duration = Duration::from_secs(20);

struct Desk {
    app: TestApp,
    faults: DynamoDbFaults,
    account: Account,
    key: String,
    api: ModelApi,
    target: Target,
}

impl Desk {
    /// A platform whose workers hold a run for five seconds at a time.
    async fn start() -> Self {
        let faults = DynamoDbFaults::default();
        let app = super::start_with(&faults, &[("RunLeaseSeconds", "5")]).await;
        let account = app.register().await;
        let scopes = [
            "agents:write",
            "runs:read",
            "signals:write",
            "credentials:write",
        ];
        let key = account.agentplatform_key(&app, &scopes).await;
        let api = ModelApi::start().await;
        let body = json!({"name": "x", "provider": "openai", "secret": "sk-planted-123", "base_url": api.url()});
        let made = app.post("/api/v1/credentials", body).bearer(&key);
        made.send().await.expect(201);
        Self {
            app,
            faults,
            account,
            key,
            api,
            target: Target::start().await,
        }
    }

    async fn agent(&self, config: Value) -> String {
        let body = json!({"name": "Agent", "type": "freeform", "config": config});
        let made = self.app.post("/api/v1/agents", body).bearer(&self.key);
        let made = made.send().await.expect(201)["data"]["id"].clone();
        made.as_str().unwrap().to_owned()
    }

    /// An agent that asks a hosted model.
    async fn asker(&self) -> String {
        let config = json!({"instructions": "x", "model": "openai/gpt-5"});
        self.agent(config).await
    }

    /// An agent that sends one request to the target.
    async fn requester(&self, method: &str, path: &str) -> String {
        let url = format!("{}{path}", self.target.url());
        let request = json!({"method": method, "url": url, "timeout_seconds": 20});
        let host = self.target.url().trim_start_matches("http://");
        let config = json!({
            "instructions": format!("@http_request {request}"),
            "tools": ["http_request"],
            "allowed_hosts": [host],
        });
        self.agent(config).await
    }

    async fn signal(&self, agent: &str) -> String {
        let path = format!("/api/v1/agents/{agent}/signals");
        let sent = self.app.post(&path, json!({"type": "go"}));
        let sent = sent.bearer(&self.key).send().await.expect(202);
        sent["data"]["run_id"].as_str().unwrap().to_owned()
    }

    async fn run(&self, id: &str) -> Value {
        let path = format!("/api/v1/runs/{id}");
        let shown = self.app.get(&path).bearer(&self.key).send().await;
        shown.expect(200)["data"].clone()
    }

    async fn ended(&self, id: &str, within: Duration) -> Value {
        let until = Instant::now() + within;
        loop {
            let run = self.run(id).await;
            if run["status"] == "completed" || run["status"] == "failed" {
                return run;
            }
            assert!(Instant::now() < until, "still at work: {run}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the target has been asked.
    async fn asked(&self) {
        eventually("a request", async || !self.target.hits().is_empty()).await;
    }
}

#[tokio::test]
async fn a_run_whose_end_is_throttled_for_longer_than_its_lease_keeps_its_answer() {
    let desk = Desk::start().await;
    let agent = desk.asker().await;
    desk.api.play([Turn::Text("The answer.".to_owned())]);
    let end = || {
        Calls::of("TransactWriteItems")
            .by(WORKER)
            .containing("run.completed")
    };
    let throttled = desk.faults.inject(Fault::Throttled, end(), usize::MAX);
    let run = desk.signal(&agent).await;
    // Longer than the lease, so that workers give it back in between.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(throttled.met() > 5, "{}", throttled.met());
    assert_eq!(desk.run(&run).await["status"], "running");
    desk.faults.clear();

    let run = desk.ended(&run, SOON).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["output"]["text"], "The answer.");
    assert_eq!(desk.api.take_hits().len(), 1, "the model was asked once");
    assert!(run["tokens"]["output"].as_u64() > Some(0), "{run}");
}

#[tokio::test]
async fn writes_that_hang_collide_or_lose_their_answers_cost_a_run_nothing() {
    let desk = Desk::start().await;
    let agent = desk.requester("POST", "/effect").await;
    let end = || {
        Calls::of("TransactWriteItems")
            .by(WORKER)
            .containing("run.completed")
    };
    let place = || Calls::of("UpdateItem").by(WORKER).containing("held_until");
    let begin = || Calls::of("UpdateItem").by(WORKER).containing("2#head");
    for (number, (fault, calls)) in (1..).zip([
        (Fault::Conflicts, end()),
        (Fault::Hangs, end()),
        (Fault::AnswerLost, end()),
        (Fault::AnswerHangs, end()),
        (Fault::AnswerLost, place()),
        (Fault::AnswerHangs, place()),
        (Fault::Hangs, place()),
        (Fault::AnswerLost, begin()),
        (Fault::AnswerHangs, begin()),
        (Fault::Hangs, begin()),
        // The intent, and the result.
        (
            Fault::AnswerLost,
            Calls::of("TransactWriteItems").by(WORKER),
        ),
        (
            Fault::AnswerHangs,
            Calls::of("TransactWriteItems")
                .by(WORKER)
                .containing("tool_returned"),
        ),
    ]) {
        let injected = desk.faults.inject(fault, calls, 1);
        let run = desk.signal(&agent).await;
        let run = desk.ended(&run, SOON).await;
        assert_eq!(run["status"], "completed", "{fault:?} {number}: {run}");
        assert_eq!(injected.met(), 1, "{fault:?} {number}");
        assert_eq!(desk.target.hits().len(), number, "{fault:?}");
        desk.faults.clear();
    }
}

#[tokio::test]
async fn a_renewal_that_is_never_answered_holds_up_no_reply() {
    let desk = Desk::start().await;
    let agent = desk.requester("POST", "/after/7000").await;
    let run = desk.signal(&agent).await;
    desk.asked().await;
    let renewals = Calls::of("UpdateItem").by(WORKER).containing("2#head");
    let hanging = desk.faults.inject(Fault::Hangs, renewals, 2);
    let run = desk.ended(&run, SOON).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert!(hanging.met() > 0);
    assert_eq!(desk.target.hits().len(), 1);
}

#[tokio::test]
async fn a_run_begins_soon_after_the_store_is_back() {
    let desk = Desk::start().await;
    let agent = desk.agent(json!({"instructions": "x"})).await;
    desk.faults.inject(
        Fault::Throttled,
        Calls::of("GetItem").by(WORKER),
        usize::MAX,
    );
    let run = desk.signal(&agent).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(desk.run(&run).await["status"], "queued");
    desk.faults.clear();
    // Neither the sweep nor the queue's visibility timeout is waited for.
    let run = desk.ended(&run, Duration::from_secs(10)).await;
    assert_eq!(run["status"], "completed", "{run}");
}

#[tokio::test]
async fn a_note_of_a_credentials_use_is_no_reason_to_fail() {
    let desk = Desk::start().await;
    let agent = desk.asker().await;
    let note = Calls::of("UpdateItem")
        .by(WORKER)
        .containing("last_used_at");
    let conflicts = desk.faults.inject(Fault::Conflicts, note, usize::MAX);
    let run = desk.signal(&agent).await;
    let run = desk.ended(&run, SOON).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert!(conflicts.met() > 0);
    assert_eq!(desk.api.take_hits().len(), 1);
}

#[tokio::test]
async fn pieces_of_an_answer_that_cannot_be_shown_cost_a_run_nothing() {
    let desk = Desk::start().await;
    let agent = desk.asker().await;
    let store = Store::new(&desk.app.platform.services());
    let workspace: WorkspaceId = desk.account.workspace_id.parse().unwrap();
    let words = "one two three four five six seven eight nine ten";
    let slowly = || Turn::Trickling(Duration::from_millis(300), words.to_owned());

    // A worker of before has shown a piece in a place that this one comes to.
    desk.api.play([slowly()]);
    let run = desk.signal(&agent).await;
    let id: RunId = run.parse().unwrap();
    let shown = async || {
        let seen = store.run_events(workspace, id, EventCursor::Start).await;
        let entries = seen.unwrap().unwrap().entries.into_iter();
        let chunks = entries.filter_map(|entry| match entry {
            JournalEntry::StreamChunk(chunk) => Some(chunk),
            JournalEntry::Step(_) => None,
        });
        chunks.collect::<Vec<_>>()
    };
    let last = loop {
        match shown().await.last() {
            Some(last) if last.sequence > 0 => break last.clone(),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let planted = StreamChunk {
        sequence: last.sequence + 2,
        event: StreamChunkEvent::Text {
            text: "planted".to_owned(),
        },
        ..last
    };
    let add = async || {
        let held = store.run_head(workspace, id).await.unwrap().unwrap();
        store.append_chunk(&held, &planted).await.is_ok()
    };
    eventually("a planted piece", add).await;
    let ended = desk.ended(&run, SOON).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let sequences: Vec<_> = shown().await.iter().map(|piece| piece.sequence).collect();
    assert!(sequences.contains(&(planted.sequence + 1)), "{sequences:?}");
    assert_eq!(desk.api.take_hits().len(), 1, "asked once");

    // The store takes none of them.
    desk.api.play([slowly()]);
    let piece = Calls::of("TransactWriteItems")
        .by(WORKER)
        .containing("run_partial");
    let throttled = desk.faults.inject(Fault::Throttled, piece, usize::MAX);
    let run = desk.signal(&agent).await;
    let ended = desk.ended(&run, SOON).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert!(throttled.met() > 0);
    assert_eq!(desk.api.take_hits().len(), 1, "asked once");
}

#[tokio::test]
async fn a_model_is_told_of_a_post_that_may_have_taken_effect() {
    let desk = Desk::start().await;
    for (path, why) in [
        ("/broken", "the connection broke"),
        ("/huge", "larger than 1048576 bytes"),
    ] {
        let posting = desk.requester("POST", path).await;
        let run = desk.signal(&posting).await;
        let run = desk.ended(&run, SOON).await;
        let told = run["output"].to_string();
        assert!(told.contains(why), "{path}: {run}");
        assert!(
            told.contains("may or may not have taken effect"),
            "{path}: {run}"
        );
        let hits = desk.target.hits().into_iter();
        assert_eq!(hits.filter(|hit| hit.path == path).count(), 1, "{path}");

        let reading = desk.requester("GET", path).await;
        let run = desk.signal(&reading).await;
        let run = desk.ended(&run, SOON).await;
        assert!(
            !run["output"].to_string().contains("effect"),
            "{path}: {run}"
        );
    }
}
