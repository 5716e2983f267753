//! Lists of what there is much of: their totals are kept, and they are right while the indexes lag behind.

use std::time::Duration;

use chrono::TimeDelta;
use domain::audit::{AuditEntry, Caller};
use domain::ids::{RunId, WorkspaceId};
use domain::run::{Lease, Run, RunStatus};
use futures::{StreamExt, TryStreamExt, stream};
use local::Options;
use reqwest::Method;
use serde_json::{Value, json};
use store::{RunWrite, Store};
use testkit::{Call, DynamoDbFaults, DynamoDbRecorder, Fixture};

fn is_count(call: &&Call) -> bool {
    String::from_utf8_lossy(&call.body).contains("\"COUNT\"")
}

fn read_units(calls: &[Call]) -> f64 {
    let consumed = calls.iter().flat_map(|call| &call.consumed);
    consumed
        .map(|table| table["CapacityUnits"].as_f64().unwrap())
        .sum()
}

async fn get(fixture: &Fixture, path: &str, credential: &str) -> Value {
    let answer = fixture.app.get(path).bearer(credential).send().await;
    answer.expect(200)
}

async fn execute(fixture: &Fixture, agent: &str, wait: bool) -> Value {
    let body = json!({"input": {"text": "x".repeat(3_900)}, "wait": wait});
    fixture.execute(agent, body).await.body["data"].clone()
}

/// Stores so many runs like one of `agent`, in this status.
async fn plant(fixture: &Fixture, agent: &str, status: RunStatus, count: usize) {
    let store = Store::new(&fixture.app.platform.services());
    let started = execute(fixture, agent, false).await;
    let id: RunId = started["execution_id"].as_str().unwrap().parse().unwrap();
    let workspace: WorkspaceId = fixture.account.workspace_id.parse().unwrap();
    let first = store.run(workspace, id).await.unwrap().unwrap();
    let caller = Caller::system(first.organization_id, workspace);
    let now = fixture.app.clock.now();
    let runs = (1..count).map(async |_| {
        let queued = Run {
            id: RunId::new(now),
            due_at: None,
            ..first.clone()
        };
        let audit = AuditEntry::new(&caller, "run.started", "run", queued.id, now);
        store.create_run(&queued, None, &audit).await?;
        let lease = Lease {
            holder: 1,
            acquired_at: now,
            alone: false,
            place: None,
            until: now + TimeDelta::seconds(30),
        };
        let run = Run {
            status,
            lease: (status == RunStatus::Running).then_some(lease),
            ..queued.clone()
        };
        let write = RunWrite {
            read: &queued,
            run: &run,
            is_entered: true,
            steps: &[],
            messages: &[],
            agent: None,
            audit: &[],
        };
        store.write_run(write).await?;
        if status == RunStatus::Running {
            store.enter_running(&run, lease.until).await;
        }
        Ok::<(), domain::Error>(())
    });
    let planted = stream::iter(runs).buffer_unordered(16);
    planted.try_collect::<Vec<()>>().await.unwrap();
}

#[tokio::test]
async fn an_agent_is_at_work_however_many_runs_others_have() {
    let fixture = Fixture::with(|options| Options {
        event_sources: false,
        schedules: false,
        ..options
    })
    .await;
    let mut agents = Vec::new();
    for _ in 0..4 {
        agents.push(fixture.app.agent(&fixture.key, "x").await);
    }
    // More than a query gives, of the newest agent but one.
    plant(&fixture, &agents[0], RunStatus::Running, 2).await;
    plant(&fixture, &agents[2], RunStatus::Paused, 300).await;
    let statuses = async |query: &str| {
        let listed = get(&fixture, &format!("/api/v1/agents{query}"), &fixture.key).await;
        let cursor = listed["meta"]["next_cursor"].as_str().map(str::to_owned);
        let agents = listed["data"].as_array().unwrap().iter();
        let statuses: Vec<String> = agents
            .map(|agent| agent["status"].as_str().unwrap().to_owned())
            .collect();
        (statuses, cursor)
    };
    let expected = ["idle", "running", "idle", "running"];
    assert_eq!(statuses("").await.0, expected);
    let (first, cursor) = statuses("?limit=2").await;
    let (second, _) = statuses(&format!("?limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!([first, second].concat(), expected);
    for (agent, status) in agents.iter().rev().zip(expected) {
        let shown = get(&fixture, &format!("/api/v1/agents/{agent}"), &fixture.key).await;
        assert_eq!(shown["data"]["status"], status);
    }
}

#[tokio::test]
async fn how_many_runs_an_agent_has_is_counted_once() {
    let recorder = DynamoDbRecorder::without_delay();
    let proxy = recorder.proxy();
    let fixture = Fixture::with(|options| Options {
        dynamodb_proxy: Some(proxy),
        event_sources: false,
        schedules: false,
        ..options
    })
    .await;
    let agent = fixture.app.agent(&fixture.key, "x").await;
    plant(&fixture, &agent, RunStatus::Completed, 250).await;
    let total = async |query: &str| {
        recorder.take();
        let path = format!("/api/agent-base/{agent}/executions?pageSize=1{query}");
        let listed = get(&fixture, &path, &fixture.token).await;
        let mut counts = recorder.take();
        counts.retain(|call| is_count(&call));
        (
            listed["pagination"]["total"].as_u64().unwrap(),
            read_units(&counts),
        )
    };
    assert_eq!(total("").await.0, 250);
    // Not before no older one can come.
    fixture.app.clock.advance(TimeDelta::minutes(11));
    let (all, units) = total("").await;
    assert_eq!(all, 250);
    assert!(units > 5.0, "{units}");
    plant(&fixture, &agent, RunStatus::Completed, 3).await;
    let (all, units) = total("").await;
    assert_eq!(all, 253);
    assert!(units <= 1.0, "{units}");
    // What is filtered is counted by its keys: 0.3 KB each, not the heads of 5 KB.
    let (completed, units) = total("&status=completed").await;
    assert_eq!(completed, 251);
    assert!(units < 15.0, "{units}");
    assert_eq!(total("&status=queued").await.0, 2);
}

#[tokio::test]
async fn totals_are_written_with_what_they_count() {
    let recorder = DynamoDbRecorder::without_delay();
    let proxy = recorder.proxy();
    let fixture = Fixture::with(|options| Options {
        dynamodb_proxy: Some(proxy),
        schedules: false,
        ..options
    })
    .await;
    let (app, session) = (&fixture.app, &fixture.account.access_token);
    let workspace = &fixture.account.workspace_id;
    let agent = fixture.app.agent(&fixture.key, "x").await;
    fixture.app.agent(&fixture.key, "y").await;
    let total = async |path: &str| {
        recorder.take();
        let listed = get(&fixture, path, session).await;
        let counts = recorder.take().iter().filter(is_count).count();
        assert_eq!(counts, 0, "{path}");
        let total = &listed["pagination"]["total"];
        total.as_u64().or(listed["total"].as_u64()).unwrap()
    };
    let tokens = format!("/api/api-tokens/product/{workspace}");
    let colleague = fixture.account.colleague(app, "USER", &[]).await;
    fixture.account.second_workspace(app).await;
    let members = "/api/organization/members";
    assert_eq!(total(&tokens).await, 1);
    assert_eq!(total("/api/settings/api-keys").await, 1);
    assert_eq!(total("/api/agent-base").await, 2);
    assert_eq!(total("/api/workspaces").await, 2);
    assert_eq!(total(members).await, 2);
    assert_eq!(total(&format!("/api/agent-base/{agent}/versions")).await, 1);
    let stats = get(&fixture, "/api/settings/api-keys/activity/stats", session).await;
    assert_eq!(stats["active_keys"], 2);

    let listed = get(&fixture, &tokens, session).await;
    let token = listed["data"][0]["id"].as_str().unwrap();
    let member = &colleague.user_id;
    for path in [
        format!("/api/api-tokens/{token}"),
        format!("/api/v1/agents/{agent}"),
        format!("{members}/{member}"),
    ] {
        let credential = if path.starts_with("/api/v1") {
            &fixture.key
        } else {
            session
        };
        let gone = app.request(Method::DELETE, &path).bearer(credential);
        let status = gone.send().await.status;
        assert!(status.is_success(), "{path}: {status}");
    }
    assert_eq!(total(&tokens).await, 0);
    assert_eq!(total("/api/agent-base").await, 1);
    assert_eq!(total(members).await, 1);
    let stats = get(&fixture, "/api/settings/api-keys/activity/stats", session).await;
    assert_eq!(stats["active_keys"], 1);
}

#[tokio::test]
async fn a_list_by_status_shows_no_run_that_has_moved_on_while_the_index_lags() {
    let faults = DynamoDbFaults::with_index_lag(Duration::from_millis(400));
    let proxy = faults.proxy();
    let fixture = Fixture::with(|options| Options {
        dynamodb_proxy: Some(proxy),
        schedules: false,
        ..options
    })
    .await;
    let agent = fixture.app.agent(&fixture.key, "Summarise.").await;
    let done = execute(&fixture, &agent, true).await;
    assert_eq!(done["status"], "completed");
    let list = async |status: &str| {
        let path = format!("/api/v1/agents/{agent}/runs?status={status}");
        let listed = get(&fixture, &path, &fixture.key).await;
        listed["data"].as_array().unwrap().clone()
    };
    let until = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        for status in ["queued", "running"] {
            assert_eq!(list(status).await, Vec::<Value>::new(), "{status}");
        }
        if list("completed").await.len() == 1 {
            break;
        }
        assert!(std::time::Instant::now() < until, "it never appears");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_workspaces_runs_are_one_list_by_age_whatever_agents_they_are_of() {
    let fixture = Fixture::with(|options| options).await;
    let (one, other) = (
        fixture.app.agent(&fixture.key, "x").await,
        fixture.app.agent(&fixture.key, "x").await,
    );
    let mut expected = Vec::new();
    for agent in [&one, &other, &one] {
        let run = execute(&fixture, agent, true).await;
        expected.insert(0, run["id"].clone());
    }
    let signal = fixture.app.post(
        &format!("/api/v1/agents/{other}/signals"),
        json!({"type": "x"}),
    );
    let signalled = signal.bearer(&fixture.key).send().await.expect(202)["data"]["run_id"].clone();
    expected.insert(0, signalled.clone());
    let listed = async |query: &str| {
        let answer = get(&fixture, &format!("/api/v1/runs?{query}"), &fixture.key).await;
        let ids = answer["data"].as_array().unwrap().iter();
        let ids: Vec<Value> = ids.map(|run| run["id"].clone()).collect();
        (ids, answer["meta"]["next_cursor"].clone())
    };
    assert_eq!(listed("").await, (expected.clone(), Value::Null));
    let (first, cursor) = listed("limit=3").await;
    let cursor = cursor.as_str().unwrap();
    let (rest, _) = listed(&format!("limit=3&cursor={cursor}")).await;
    assert_eq!([first, rest].concat(), expected);
    let signals = vec![signalled.clone()];
    assert_eq!(listed("trigger=signal").await.0, signals);
    assert_eq!(
        listed(&format!("agent_id={other}&trigger=signal")).await.0,
        [signalled]
    );
    assert_eq!(
        listed(&format!("agent_id={one}")).await.0,
        [expected[1].clone(), expected[3].clone()]
    );
    assert_eq!(listed("status=failed").await.0, Vec::<Value>::new());
    assert_eq!(listed("from=2100-01-01").await.0, Vec::<Value>::new());
    assert_eq!(
        listed("to=2100-01-01&status=completed&trigger=manual")
            .await
            .0,
        expected[1..]
    );
    for (query, field) in [
        ("status=x", "status"),
        ("trigger=x", "trigger"),
        ("agent_id=x", "agent_id"),
        ("from=x", "from"),
        ("cursor=x", "cursor"),
    ] {
        let told = fixture
            .app
            .get(&format!("/api/v1/runs?{query}"))
            .bearer(&fixture.key);
        let told = told.send().await.expect_refused(422);
        assert!(told.contains(field), "{query}: {told}");
    }
    let stranger = fixture.app.register().await;
    let stranger = stranger
        .agentplatform_key(&fixture.app, &["runs:read"])
        .await;
    let theirs = get(&fixture, "/api/v1/runs", &stranger).await;
    assert_eq!(theirs["data"], json!([]));
    // Another tenant's agent has no runs here.
    let theirs = get(&fixture, &format!("/api/v1/runs?agent_id={one}"), &stranger).await;
    assert_eq!(theirs["data"], json!([]));
}
