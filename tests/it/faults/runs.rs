//! Runs whose store fails for a while.

use std::time::Duration;

use domain::ids::{RunId, WorkspaceId};
use domain::run::{StreamChunk, StreamChunkEvent};
use serde_json::{Value, json};
use store::{EventCursor, JournalEntry, Store};
use testkit::fakes::Turn;
use testkit::{Calls, DynamoDbFaults, Fault, Fixture, eventually};

const WORKER: &str = "ExecutionsWorkerFunction";
/// The time in which an undisturbed run ends on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A platform whose workers hold a run for five seconds at a time.
async fn start() -> (Fixture, DynamoDbFaults) {
    let faults = DynamoDbFaults::default();
    let parameters = [("RunLeaseSeconds", "5")];
    let fixture = Fixture::with(|options| super::with_faults(options, &faults, &parameters)).await;
    fixture.store_credential("openai").await;
    (fixture, faults)
}

/// An agent that asks a hosted model.
async fn asker(fixture: &Fixture) -> String {
    let config = json!({"instructions": "x", "model": "openai/gpt-5"});
    fixture.agent(config).await
}

async fn ended_within(fixture: &Fixture, id: &str, within: Duration) -> Value {
    let ended = tokio::time::timeout(within, fixture.ended(id));
    ended.await.expect("the end of the run in time")
}

/// Waits until the target has been asked.
async fn requested(fixture: &Fixture) {
    eventually("a request", async || !fixture.target.hits().is_empty()).await;
}

#[tokio::test]
async fn a_run_whose_end_is_throttled_for_longer_than_its_lease_keeps_its_answer() {
    let (fixture, faults) = start().await;
    let agent = asker(&fixture).await;
    fixture.models.play([Turn::Text("The answer.".to_owned())]);
    let end = || {
        Calls::of("TransactWriteItems")
            .by(WORKER)
            .containing("run.completed")
    };
    let throttled = faults.inject(Fault::Throttled, end(), usize::MAX);
    let run = fixture.signal(&agent).await;
    // Longer than the lease, so that workers give it back in between.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(throttled.met() > 5, "{}", throttled.met());
    assert_eq!(fixture.run(&run).await["status"], "running");
    faults.clear();

    let run = ended_within(&fixture, &run, SOON).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["output"]["text"], "The answer.");
    assert_eq!(
        fixture.models.take_hits().len(),
        1,
        "the model was asked once"
    );
    assert!(run["tokens"]["output"].as_u64() > Some(0), "{run}");
}

#[tokio::test]
async fn writes_that_hang_collide_or_lose_their_answers_cost_a_run_nothing() {
    let (fixture, faults) = start().await;
    let agent = fixture.agent(fixture.requests("POST", &["/effect"])).await;
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
        let injected = faults.inject(fault, calls, 1);
        let run = fixture.signal(&agent).await;
        let run = ended_within(&fixture, &run, SOON).await;
        assert_eq!(run["status"], "completed", "{fault:?} {number}: {run}");
        assert_eq!(injected.met(), 1, "{fault:?} {number}");
        assert_eq!(fixture.target.hits().len(), number, "{fault:?}");
        faults.clear();
    }
}

#[tokio::test]
async fn a_renewal_that_is_never_answered_holds_up_no_reply() {
    let (fixture, faults) = start().await;
    let agent = fixture
        .agent(fixture.requests("POST", &["/after/7000"]))
        .await;
    let run = fixture.signal(&agent).await;
    requested(&fixture).await;
    let renewals = Calls::of("UpdateItem").by(WORKER).containing("2#head");
    let hanging = faults.inject(Fault::Hangs, renewals, 2);
    let run = ended_within(&fixture, &run, SOON).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert!(hanging.met() > 0);
    assert_eq!(fixture.target.hits().len(), 1);
}

#[tokio::test]
async fn a_run_begins_soon_after_the_store_is_back() {
    let (fixture, faults) = start().await;
    let agent = fixture.agent(json!({"instructions": "x"})).await;
    faults.inject(
        Fault::Throttled,
        Calls::of("GetItem").by(WORKER),
        usize::MAX,
    );
    let run = fixture.signal(&agent).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(fixture.run(&run).await["status"], "queued");
    faults.clear();
    // Neither the sweep nor the queue's visibility timeout is waited for.
    let run = ended_within(&fixture, &run, Duration::from_secs(10)).await;
    assert_eq!(run["status"], "completed", "{run}");
}

#[tokio::test]
async fn a_note_of_a_credentials_use_is_no_reason_to_fail() {
    let (fixture, faults) = start().await;
    let agent = asker(&fixture).await;
    let note = Calls::of("UpdateItem")
        .by(WORKER)
        .containing("last_used_at");
    let conflicts = faults.inject(Fault::Conflicts, note, usize::MAX);
    let run = fixture.signal(&agent).await;
    let run = ended_within(&fixture, &run, SOON).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert!(conflicts.met() > 0);
    assert_eq!(fixture.models.take_hits().len(), 1);
}

#[tokio::test]
async fn pieces_of_an_answer_that_cannot_be_shown_cost_a_run_nothing() {
    let (fixture, faults) = start().await;
    let agent = asker(&fixture).await;
    let store = Store::new(&fixture.app.platform.services());
    let workspace: WorkspaceId = fixture.account.workspace_id.parse().unwrap();
    let words = "one two three four five six seven eight nine ten";
    let slowly = || Turn::Trickling(Duration::from_millis(300), words.to_owned());

    // A worker of before has shown a piece in a place that this one comes to.
    fixture.models.play([slowly()]);
    let run = fixture.signal(&agent).await;
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
    let ended = ended_within(&fixture, &run, SOON).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let sequences: Vec<_> = shown().await.iter().map(|piece| piece.sequence).collect();
    assert!(sequences.contains(&(planted.sequence + 1)), "{sequences:?}");
    assert_eq!(fixture.models.take_hits().len(), 1, "asked once");

    // The store takes none of them.
    fixture.models.play([slowly()]);
    let piece = Calls::of("TransactWriteItems")
        .by(WORKER)
        .containing("run_partial");
    let throttled = faults.inject(Fault::Throttled, piece, usize::MAX);
    let run = fixture.signal(&agent).await;
    let ended = ended_within(&fixture, &run, SOON).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert!(throttled.met() > 0);
    assert_eq!(fixture.models.take_hits().len(), 1, "asked once");
}

#[tokio::test]
async fn a_model_is_told_of_a_post_that_may_have_taken_effect() {
    let (fixture, _) = start().await;
    for (path, why) in [
        ("/broken", "the connection broke"),
        ("/huge", "larger than 1048576 bytes"),
    ] {
        let posting = fixture.agent(fixture.requests("POST", &[path])).await;
        let run = fixture.signal(&posting).await;
        let run = ended_within(&fixture, &run, SOON).await;
        let told = run["output"].to_string();
        assert!(told.contains(why), "{path}: {run}");
        assert!(
            told.contains("may or may not have taken effect"),
            "{path}: {run}"
        );
        let hits = fixture.target.hits().into_iter();
        assert_eq!(hits.filter(|hit| hit.path == path).count(), 1, "{path}");

        let reading = fixture.agent(fixture.requests("GET", &[path])).await;
        let run = fixture.signal(&reading).await;
        let run = ended_within(&fixture, &run, SOON).await;
        assert!(
            !run["output"].to_string().contains("effect"),
            "{path}: {run}"
        );
    }
}
