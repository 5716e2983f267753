//! A run whose worker may have died of it goes on alone, by a queue of its own.

use chrono::TimeDelta;
use local::Options;
use serde_json::{Value, json};
use testkit::{TestApp, in_this_process};

use crate::stored::{data, plant, records};

async fn messages(app: &TestApp, function: &str, queue: &str) -> Vec<Value> {
    let environment = app.platform.function_environment(function).unwrap();
    let receive = app.platform.services().sqs.receive_message();
    let receive = receive
        .queue_url(&environment[queue])
        .max_number_of_messages(10);
    let received = receive.send().await.unwrap().messages.unwrap_or_default();
    let bodies = received.iter().map(|message| message.body().unwrap());
    bodies
        .map(|body| serde_json::from_str(body).unwrap())
        .collect()
}

#[tokio::test]
async fn a_run_that_lost_a_lease_is_sent_to_the_queue_of_those_that_go_on_alone() {
    // Messages stay where they are sent.
    let app = TestApp::with(|options| Options {
        event_sources: false,
        schedules: false,
        ..in_this_process(options)
    })
    .await;
    let account = app.register().await;
    let scopes = ["agents:write", "signals:write"];
    let key = account.agentplatform_key(&app, &scopes).await;
    let agent = app.agent(&key, "x").await;
    let path = format!("/api/v1/agents/{agent}/signals");
    let sent = app.post(&path, json!({"type": "go"})).bearer(&key).send();
    let run = sent.await.expect(202)["data"]["run_id"].clone();
    let tick = "TriggersTickFunction";
    let first = messages(&app, tick, "RUN_QUEUE_URL").await;
    assert_eq!(first.len(), 1, "{first:?}");

    let head = records(&app, "run").await.swap_remove(0);
    let mut held = data(&head);
    let now = app.clock.now();
    held["status"] = json!("running");
    held["lease"] = json!({"holder": 7, "acquired_at": now, "until": now + TimeDelta::seconds(30)});
    plant(&app, head, held.to_string()).await;
    app.clock.advance(TimeDelta::seconds(100));

    // The tick finds that the lease has run out.
    app.tick().await;
    let alone = messages(&app, tick, "ALONE_RUN_QUEUE_URL").await;
    assert_eq!(alone.len(), 1, "{alone:?}");
    let message = alone[0].to_string();
    assert!(message.contains(run.as_str().unwrap()), "{message}");
    assert!(message.contains("\"alone\":true"), "{message}");
    let shared = messages(&app, tick, "RUN_QUEUE_URL").await;
    assert_eq!(shared, Vec::<Value>::new());
    assert_eq!(data(&records(&app, "run").await[0])["status"], "running");
}
