//! The tick on an index that cannot be read everywhere, or lags.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use testkit::{Calls, DynamoDbFaults, Fault, TestApp};

async fn scheduled(app: &TestApp, key: &str, count: usize) -> Vec<String> {
    let mut agents = Vec::new();
    for _ in 0..count {
        let body = json!({"name": "Hourly", "type": "freeform", "config": {"instructions": "x"}, "schedule": "0 * * * *"});
        let made = app.post("/api/v1/agents", body).bearer(key);
        let made = made.send().await.expect(201)["data"]["id"].clone();
        agents.push(made.as_str().unwrap().to_owned());
    }
    agents
}

async fn runs(app: &TestApp, key: &str, agent: &str) -> Vec<Value> {
    let path = format!("/api/v1/agents/{agent}/runs");
    let listed = app.get(&path).bearer(key).send().await.expect(200);
    listed["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_part_of_what_is_due_that_cannot_be_read_holds_up_no_other() {
    const AGENTS: usize = 40;
    let faults = DynamoDbFaults::default();
    let app = super::start(&faults).await;
    let account = app.register().await;
    let key = account
        .agentplatform_key(&app, &["agents:write", "runs:read"])
        .await;
    let agents = scheduled(&app, &key, AGENTS).await;
    // One agent's part of the index.
    let throttled = Calls::of("Query").by("TriggersTickFunction");
    let of_one = |agent: &str| {
        let shard = agent
            .bytes()
            .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        format!("due#{:02}", shard % 16)
    };
    let shard = of_one(&agents[0]);
    let there = agents.iter().filter(|agent| of_one(agent) == shard).count();
    let throttled = throttled.containing(&shard);
    let throttled = faults.inject(Fault::Throttled, throttled, usize::MAX);

    app.clock.advance(TimeDelta::minutes(61));
    let told = app.tick().await;
    assert!(throttled.met() > 0);
    assert_eq!(told["agents"], AGENTS - there, "{told}");
    faults.clear();
    let told = app.tick().await;
    assert_eq!(told["agents"], there, "{told}");
    for agent in &agents {
        assert_eq!(runs(&app, &key, agent).await.len(), 1);
    }
}

#[tokio::test]
async fn indexes_that_lag_behind_their_tables_mislead_neither_clients_nor_ticks() {
    let faults = DynamoDbFaults::with_index_lag(Duration::from_millis(200));
    let app = super::start(&faults).await;
    let account = app.register().await;
    let scopes = ["agents:read", "agents:write", "runs:read", "signals:write"];
    let key = account.agentplatform_key(&app, &scopes).await;
    let token = account.prodgy_token(&app).await;
    let [agent] = &scheduled(&app, &key, 1).await[..] else {
        panic!("one agent")
    };

    // What was made is there at once by its id, and in lists soon.
    let path = format!("/api/agent-base/{agent}/executions");
    let run = json!({"input": {"text": "A sentence."}, "wait": true});
    let run = app.post(&path, run).bearer(&token).send().await.expect(200);
    let id = run["data"]["id"].as_str().unwrap();
    let shown = app.get(&format!("{path}/{id}")).bearer(&token).send().await;
    assert_eq!(shown.expect(200)["data"]["status"], "completed");
    let listed = async || runs(&app, &key, agent).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(listed().await[0]["status"], "completed");

    // A schedule fires once, also for ticks that read what was before.
    app.clock.advance(TimeDelta::minutes(61));
    for _ in 0..3 {
        tokio::join!(app.tick(), app.tick());
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    let fired = listed().await;
    let by_schedule = fired.iter().filter(|run| run["trigger"] == "schedule");
    assert_eq!(by_schedule.count(), 1, "{fired:?}");
    assert!(
        fired.iter().all(|run| run["status"] == "completed"),
        "{fired:?}"
    );

    // A token works at once and is refused at once, whatever the list of tokens says.
    let session = account.sign_in(&app).await;
    let made = app.post("/api/api-tokens", json!({"name": "new"}));
    let made = made.bearer(&session).send().await.expect(201);
    let (id, secret) = (&made["data"]["id"], made["data"]["token"].as_str().unwrap());
    let list = async || {
        let path = format!("/api/api-tokens/product/{}", account.workspace_id);
        let listed = app.get(&path).bearer(&session).send().await;
        listed.expect(200).to_string()
    };
    assert!(
        !list().await.contains(id.as_str().unwrap()),
        "the list lags"
    );
    let used = app.get("/api/agent-base").bearer(secret).send().await;
    used.expect(200);
    let path = format!("/api/api-tokens/{}", id.as_str().unwrap());
    let deleted = app.request(reqwest::Method::DELETE, &path);
    let deleted = deleted.bearer(&session).send().await;
    assert!(deleted.status.is_success(), "{}", deleted.text);
    let refused = app.get("/api/agent-base").bearer(secret).send().await;
    assert_eq!(refused.status, 401);
}
