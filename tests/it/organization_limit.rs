//! The limit of all of an organization's requests: a guard, counted beside the documented limits and never shown as one.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::Method;
use testkit::{Account, DynamoDbRecorder, TestApp, TestResponse, in_this_process};

async fn app_with(limit: u32) -> TestApp {
    let limit = limit.to_string();
    let app = TestApp::with(|options| {
        in_this_process(options)
            .parameter("OrganizationLimitPerMinute", &limit)
            .parameter("AgentPlatformLimitPerMinute", "500")
    });
    app.await
}

/// Moves the clock to the start of the next window.
fn start_of_window(app: &TestApp) {
    let into = app.clock.now().timestamp_millis().rem_euclid(60_000);
    app.clock.advance(TimeDelta::milliseconds(60_000 - into));
}

async fn get(app: &TestApp, credential: &str, path: &str) -> TestResponse {
    app.get(path).bearer(credential).send().await
}

/// The number of requests that pass, of so many, one after the other.
async fn passing(app: &TestApp, credential: &str, path: &str, count: usize) -> usize {
    let mut passed = 0;
    for _ in 0..count {
        let answer = get(app, credential, path).await;
        assert!(
            matches!(answer.status.as_u16(), 200 | 429),
            "{}",
            answer.text
        );
        passed += usize::from(answer.status == 200);
    }
    passed
}

#[tokio::test]
async fn keys_and_sessions_of_an_organization_share_a_limit_that_no_header_shows() {
    let app = app_with(25).await;
    let (account, other) = (app.register().await, app.register().await);
    let scopes = ["agents:read"];
    let first = account.agentplatform_key(&app, &scopes).await;
    let second = account.agentplatform_key(&app, &scopes).await;
    let others = other.agentplatform_key(&app, &scopes).await;
    start_of_window(&app);
    let path = "/api/v1/agents";
    for credential in [&first, &second] {
        assert_eq!(passing(&app, credential, path, 10).await, 10);
    }
    let session = &account.access_token;
    assert_eq!(passing(&app, session, "/api/agent-base", 10).await, 5);

    let refused = get(&app, &first, path).await;
    assert_eq!(refused.header("x-ratelimit-limit"), "500");
    assert_eq!(refused.header("x-ratelimit-remaining"), "489");
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(refused.expect_refused(429).contains("organization"));
    let refused = get(&app, session, "/api/agent-base").await;
    assert_eq!(refused.header("ratelimit-limit"), "100000");
    assert!(!refused.header("retry-after").is_empty());
    refused.expect_refused(429);
    get(&app, &others, path).await.expect(200);

    start_of_window(&app);
    assert_eq!(passing(&app, &first, path, 30).await, 25);
}

#[tokio::test]
async fn instances_learn_from_each_other_what_an_organization_has_used() {
    let app = app_with(40).await;
    let account: Account = app.register().await;
    let key = account
        .agentplatform_key(&app, &["agents:read", "runs:read"])
        .await;
    start_of_window(&app);
    // Another function, and so another instance.
    let (agents, runs) = (
        "/api/v1/agents",
        "/api/v1/runs/0193a5c8-7b40-7c6e-9d2f-5b1e8a4c3d70",
    );
    assert_eq!(passing(&app, &key, agents, 20).await, 20);
    let mut found_out = 0;
    for request in 1..=40 {
        let answer = get(&app, &key, runs).await;
        match answer.status.as_u16() {
            404 => {}
            429 => {
                found_out = request;
                break;
            }
            _ => panic!("{}", answer.text),
        }
        // For what it writes after the response.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!((21..=30).contains(&found_out), "{found_out}");
    // The first one learns when it writes: after at most ten more.
    let passed = passing(&app, &key, agents, 20).await;
    assert!(passed <= 10, "{passed}");
}

#[tokio::test]
async fn ten_requests_are_counted_by_one_write_which_none_of_them_waits_for() {
    let recorder = DynamoDbRecorder::default();
    let proxy = recorder.proxy();
    let app = TestApp::with(|options| {
        let options = local::Options {
            dynamodb_proxy: Some(proxy),
            schedules: false,
            ..in_this_process(options)
        };
        options.parameter("OrganizationLimitPerMinute", "6000")
    })
    .await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, &["agents:read"]).await;
    start_of_window(&app);
    recorder.take();
    let mut answered = Vec::new();
    for _ in 0..100 {
        let get = app.request(Method::GET, "/api/v1/agents").bearer(&key);
        get.send().await.expect(200);
        answered.push(Instant::now());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut writes = recorder.take();
    writes.retain(|call| call.counts_for_organization());
    assert_eq!(writes.len(), 10);
    for (index, write) in writes.iter().enumerate() {
        assert!(write.ended > answered[10 * index + 9], "{index}");
    }
}
