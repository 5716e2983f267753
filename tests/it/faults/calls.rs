//! Single calls that meet a fault.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use testkit::{Calls, DynamoDbFaults, Fault};

#[tokio::test]
async fn a_call_that_is_not_answered_or_meets_a_transaction_is_made_again() {
    let faults = DynamoDbFaults::default();
    let app = super::start(&faults).await;
    let account = app.register().await;
    let key = account
        .agentplatform_key(&app, &["agents:read", "agents:write"])
        .await;
    let agent = app.agent(&key, "x").await;
    let path = format!("/api/v1/agents/{agent}");
    for (fault, operation) in [
        (Fault::Hangs, "GetItem"),
        (Fault::Throttled, "GetItem"),
        (Fault::AnswerLost, "GetItem"),
        // The counting of the request.
        (Fault::Hangs, "UpdateItem"),
    ] {
        let injected = faults.inject(fault, Calls::of(operation), 1);
        let asked = Instant::now();
        let got = app.get(&path).bearer(&key).send().await;
        got.expect(200);
        assert_eq!(injected.met(), 1, "{fault:?} {operation}");
        assert!(asked.elapsed() < Duration::from_secs(6), "{fault:?}");
    }
    for fault in [Fault::Conflicts, Fault::Throttled, Fault::AnswerLost] {
        let write = Calls::of("TransactWriteItems").by("AgentsFunction");
        let injected = faults.inject(fault, write, 1);
        let change = json!({"name": format!("{fault:?}")});
        let changed = app.request(Method::PATCH, &path).json(change).bearer(&key);
        let changed = changed.send().await.expect(200);
        assert_eq!(changed["data"]["name"], format!("{fault:?}"));
        assert_eq!(injected.met(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_password_is_counted_through_faults_since_none_is_tried_uncounted() {
    let faults = DynamoDbFaults::default();
    let app = super::start(&faults).await;
    let account = app.register().await;
    for fault in [
        Fault::Conflicts,
        Fault::Throttled,
        Fault::AnswerLost,
        Fault::Hangs,
    ] {
        let count = Calls::of("UpdateItem")
            .by("IdentityFunction")
            .containing("CountersTable");
        let injected = faults.inject(fault, count, 1);
        // It succeeds, or this panics.
        account.sign_in(&app).await;
        assert_eq!(injected.met(), 1, "{fault:?}");
    }
}
