//! How many DynamoDB round trips a request waits for, one after another.

use reqwest::Method;
use serde_json::json;
use testkit::{DynamoDbRecorder, S3Recorder, TestApp};

#[tokio::test]
async fn an_authenticated_read_waits_for_two_round_trips() {
    let recorder = DynamoDbRecorder::default();
    let objects = S3Recorder::default();
    let (front, objects_front) = (recorder.front(), objects.front());
    let app = TestApp::with(|options| signalbox::Options {
        dynamodb_front: Some(front),
        s3_front: Some(objects_front),
        schedules: false,
        ..options
    })
    .await;
    let account = app.register().await;
    let token = account.prodgy_token(&app).await;
    let key = account
        .agentplatform_key(&app, &["agents:read", "agents:write", "runs:read"])
        .await;
    let agent = app.agent(&key, "x").await;
    let run = json!({"input": {"text": "A sentence."}, "wait": true});
    let run = app
        .post(&format!("/api/agent-base/{agent}/executions"), run)
        .bearer(&token)
        .send()
        .await;
    let run = run.expect(200)["data"]["id"].as_str().unwrap().to_owned();
    // The first use of a token in an hour is logged; that is not what is measured.
    app.get("/api/agent-base")
        .bearer(&token)
        .send()
        .await
        .expect(200);

    for (credential, path, calls) in [
        (&token, format!("/api/agent-base/{agent}"), 4),
        (&token, "/api/agent-base".to_owned(), 5),
        (
            &token,
            format!("/api/agent-base/{agent}/executions/{run}"),
            4,
        ),
        (&token, format!("/api/workflow/{run}/events"), 4),
        (&key, format!("/api/v1/agents/{agent}"), 7),
        (&key, format!("/api/v1/runs/{run}"), 4),
        (&account.access_token, format!("/api/agent-base/{agent}"), 4),
        (&account.access_token, "/api/organization".to_owned(), 4),
    ] {
        recorder.take();
        app.request(Method::GET, &path)
            .bearer(credential)
            .send()
            .await
            .expect(200);
        let seen = recorder.take();
        let operations: Vec<&str> = seen.iter().map(|call| call.operation.as_str()).collect();
        assert!(
            DynamoDbRecorder::nesting(&seen) <= 2,
            "{path}: {operations:?}"
        );
        assert!(seen.len() <= calls, "{path}: {operations:?}");
    }
    assert_eq!(objects.take(), [], "small values stay in the table");
}

#[tokio::test]
async fn malformed_credentials_cost_no_round_trip() {
    let recorder = DynamoDbRecorder::default();
    let front = recorder.front();
    let app = TestApp::with(|options| signalbox::Options {
        dynamodb_front: Some(front),
        schedules: false,
        ..options
    })
    .await;
    recorder.take();
    app.get("/api/agent-base")
        .bearer("prodgy_short")
        .send()
        .await
        .expect_refused(401);
    app.get("/api/v1/agents").send().await.expect_refused(401);
    app.get("/api/organization")
        .bearer("a.b.c")
        .send()
        .await
        .expect_refused(401);
    assert!(recorder.take().is_empty());
}
