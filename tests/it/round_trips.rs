//! The DynamoDB round trips that a request waits for, one after another.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use testkit::{DynamoDbRecorder, S3Recorder, TestApp, eventually};

#[tokio::test]
async fn an_authenticated_read_waits_for_two_round_trips() {
    let recorder = DynamoDbRecorder::default();
    let objects = S3Recorder::default();
    let (proxy, objects_proxy) = (recorder.proxy(), objects.proxy());
    let app = TestApp::with(|options| local::Options {
        dynamodb_proxy: Some(proxy),
        s3_proxy: Some(objects_proxy),
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
        (&token, format!("/api/agent-base/{agent}"), 3),
        (&token, "/api/agent-base".to_owned(), 4),
        (
            &token,
            format!("/api/agent-base/{agent}/executions/{run}"),
            3,
        ),
        // The runs under way are in five partitions.
        (&key, format!("/api/v1/agents/{agent}"), 8),
        (&key, format!("/api/v1/runs/{run}"), 3),
        (&account.access_token, format!("/api/agent-base/{agent}"), 4),
        (&account.access_token, "/api/organization".to_owned(), 4),
        // Last, since a stream gives back after its end the place that it takes beside the look at the run.
        (&token, format!("/api/workflow/{run}/events"), 5),
    ] {
        let mut seen = Vec::new();
        // On a busy machine, calls that are made side by side may seem to wait for one another.
        for _ in 0..5 {
            recorder.take();
            app.request(Method::GET, &path)
                .bearer(credential)
                .send()
                .await
                .expect(200);
            seen = recorder.take();
            seen.retain(|call| !call.is_background());
            if DynamoDbRecorder::nesting(&seen) <= 2 {
                break;
            }
        }
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
async fn a_start_waits_for_three_round_trips_its_plan_included() {
    let recorder = DynamoDbRecorder::default();
    let proxy = recorder.proxy();
    let app = TestApp::with(|options| {
        let options = local::Options {
            dynamodb_proxy: Some(proxy),
            schedules: false,
            ..options
        };
        options.parameter("PlanRunsPerMonth", "100")
    })
    .await;
    let account = app.register().await;
    let scopes = ["agents:write", "signals:write"];
    let key = account.agentplatform_key(&app, &scopes).await;
    let agent = app.agent(&key, "x").await;
    let path = format!("/api/v1/agents/{agent}/signals");
    for expected in [None, Some(3)] {
        recorder.take();
        let signal = app.post(&path, json!({"type": "x"})).bearer(&key);
        signal.send().await.expect(202);
        let mut seen = recorder.take();
        seen.retain(|call| call.caller == "TriggersFunction" && !call.is_background());
        // The first one of a month makes the month's count.
        if let Some(expected) = expected {
            let operations: Vec<&str> = seen.iter().map(|call| call.operation.as_str()).collect();
            assert_eq!(DynamoDbRecorder::nesting(&seen), expected, "{operations:?}");
        }
    }
}

#[tokio::test]
async fn no_request_waits_for_the_request_log() {
    let recorder = DynamoDbRecorder::default();
    let proxy = recorder.proxy();
    let app = TestApp::with(|options| local::Options {
        dynamodb_proxy: Some(proxy),
        schedules: false,
        ..options
    })
    .await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, &["agents:read"]).await;
    // The first request of a minute writes the checkpoint of its workspace too.
    for least in [2, 1] {
        recorder.take();
        let get = app.get("/api/v1/agents").bearer(&key);
        get.send().await.expect(200);
        let answered = Instant::now();
        let mut written = Vec::new();
        let is_written = async || {
            let calls = recorder.take().into_iter();
            written.extend(calls.filter(|call| call.is_request_log()));
            written.len() >= least && written.iter().any(|call| call.operation == "PutItem")
        };
        eventually("the request's log row", is_written).await;
        assert_eq!(DynamoDbRecorder::nesting(&written), 1);
        for call in written {
            assert!(call.ended > answered, "{}", call.operation);
        }
    }
}

#[tokio::test]
async fn malformed_credentials_cost_no_round_trip() {
    let recorder = DynamoDbRecorder::default();
    let proxy = recorder.proxy();
    let app = TestApp::with(|options| local::Options {
        dynamodb_proxy: Some(proxy),
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
