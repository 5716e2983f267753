//! Runs that are past their retention.

use chrono::TimeDelta;
use serde_json::{Value, json};
use testkit::{TestApp, in_this_process};

use super::everything::Everything;
use super::text;

#[tokio::test]
async fn a_run_goes_with_all_that_it_had_so_many_days_after_its_end() {
    let app =
        TestApp::with(|options| in_this_process(options).parameter("RunRetentionDays", "30")).await;
    let account = app.register().await;
    let (token, key) = (
        account.prodgy_token(&app).await,
        account
            .agentplatform_key(&app, &["agents:write", "runs:read"])
            .await,
    );
    let agent = app.agent(&key, "x").await;
    let execute = async |text: &str| {
        let body = json!({"input": {"text": text}, "wait": true});
        let path = format!("/api/agent-base/{agent}/executions");
        let done = app.post(&path, body).bearer(&token).send().await;
        done.expect(200)["data"].clone()
    };
    let remove = async || {
        let job = app.platform.invoke("DeletionsFunction", json!({})).await;
        job.unwrap_or_else(|error| panic!("the job: {error:#}"))["runs"].clone()
    };
    let there = async |run: &Value| {
        let run = text(&run["id"]);
        let shown = app
            .get(&format!("/api/v1/runs/{run}"))
            .bearer(&key)
            .send()
            .await;
        let everything = Everything::of(&app).await;
        let count = everything
            .keys()
            .iter()
            .filter(|key| key.contains(&run))
            .count();
        (shown.status.as_u16(), count)
    };
    let large = execute(&"A sentence of many. ".repeat(8_000)).await;
    app.clock.advance(TimeDelta::days(15));
    let later = execute("A sentence.").await;

    app.clock
        .advance(TimeDelta::days(15) - TimeDelta::minutes(1));
    assert_eq!(remove().await, 0);
    let (status, rows) = there(&large).await;
    assert!(status == 200 && rows > 3, "{status} {rows}");
    app.clock.advance(TimeDelta::minutes(2));
    assert_eq!(remove().await, 1);
    assert_eq!(
        there(&large).await,
        (404, 0),
        "its row, journal, messages and values"
    );
    assert_eq!(there(&later).await.0, 200);
    assert_eq!(remove().await, 0);
    app.clock.advance(TimeDelta::days(15));
    assert_eq!(remove().await, 1);
    assert_eq!(there(&later).await, (404, 0));
}
