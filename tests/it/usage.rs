//! `/api/v1/usage`: what runs used, by day.

use chrono::TimeDelta;
use serde_json::{Value, json};
use testkit::fakes::Turn;
use testkit::{Account, Fixture};

async fn run(fixture: &Fixture, agent: &str) {
    fixture.run_to_end(agent, json!({"text": "Go."})).await;
}

async fn usage(fixture: &Fixture, query: &str) -> Value {
    fixture.data(&format!("/api/v1/usage{query}")).await
}

#[tokio::test]
async fn usage_is_counted_by_day_for_the_organization_and_each_agent() {
    let fixture = Fixture::start().await;
    fixture.store_credential("openai").await;
    let busy = fixture
        .agent(json!({"instructions": "x", "model": "openai/gpt-5"}))
        .await;
    let other = fixture
        .agent(json!({"instructions": "x", "model": "openai/gpt-5-mini"}))
        .await;
    let today = fixture.app.clock.now().date_naive();
    assert_eq!(usage(&fixture, "").await["used"]["runs"], 0);

    let turns = [Turn::Fails(429, Some("0")), Turn::Cut];
    fixture.models.play(turns);
    for agent in [&busy, &busy, &other] {
        run(&fixture, agent).await;
    }
    let day = json!({"date": today, "runs": 3, "input_tokens": 3000, "output_tokens": 300, "cost_micros": 2250 * 2 + 450});
    let all = usage(&fixture, "").await;
    assert_eq!(
        all["used"],
        json!({"agents": 2, "runs": 3, "tokens": 3300, "input_tokens": 3000, "output_tokens": 300, "cost_micros": 4950})
    );
    assert_eq!(all["days"], json!([day]));
    let one = usage(&fixture, &format!("?agent_id={busy}")).await;
    assert_eq!(
        one["used"],
        json!({"agents": 1, "runs": 2, "tokens": 2200, "input_tokens": 2000, "output_tokens": 200, "cost_micros": 4500})
    );

    let tomorrow = today + TimeDelta::days(1);
    let later = usage(&fixture, &format!("?from={tomorrow}&to={tomorrow}")).await;
    assert_eq!(
        (&later["used"]["runs"], &later["days"]),
        (&json!(0), &json!([]))
    );
    let around = usage(&fixture, &format!("?from={today}&to={tomorrow}")).await;
    assert_eq!(around["days"], json!([day]));
    assert_eq!(around["period_start"], format!("{today}T00:00:00Z"));
    assert_eq!(
        around["period_end"],
        format!("{}T00:00:00Z", today + TimeDelta::days(2))
    );
}

#[tokio::test]
async fn usage_of_others_and_of_no_period_is_refused() {
    let fixture = Fixture::start().await;
    let agent = fixture.agent(json!({"instructions": "x"})).await;
    let stranger = fixture.app.register().await;
    let strangers = stranger
        .agentplatform_key(&fixture.app, &["usage:read"])
        .await;
    let get = |key: &str, query: &str| {
        let get = fixture.app.get(&format!("/api/v1/usage?{query}"));
        get.bearer(key).send()
    };
    let of_agent = format!("agent_id={agent}");
    get(&strangers, &of_agent).await.expect_refused(422);
    let other = fixture
        .account
        .agentplatform_key(&fixture.app, &["runs:read"]);
    get(&other.await, "").await.expect_refused(403);
    for (query, field) in [
        ("from=yesterday", "from"),
        ("to=2026-02-30", "to"),
        ("from=2026-03-02&to=2026-03-01", "from"),
        ("from=9999-12-31&to=%2B10000-01-05", "to"),
        ("from=-0002-12-31&to=-0001-01-05", "to"),
        ("from=1969-12-31&to=1970-01-05", "from"),
        ("from=2020-01-01&to=2026-03-01", "from"),
        ("agent_id=x", "agent_id"),
    ] {
        let told = get(&fixture.key, query).await.expect_refused(422);
        assert!(told.contains(field), "{query}: {told}");
    }
}

#[tokio::test]
async fn somebody_of_one_workspace_sees_what_that_one_used() {
    let fixture = Fixture::start().await;
    let (app, owner) = (&fixture.app, &fixture.account);
    let second = owner.second_workspace(app).await;
    let limited = owner.colleague(app, "USER", &[&second]).await;
    let key = async |account: &Account| {
        let body = json!({"name": "k", "kind": "agentplatform", "scopes": ["agents:write", "usage:read"], "workspace_id": second});
        let post = app.post("/api/settings/api-keys", body);
        let made = post.bearer(&account.access_token).send().await.expect(201);
        made["key"].as_str().unwrap().to_owned()
    };
    let (limited, owners) = (key(&limited).await, key(owner).await);
    let first = fixture.agent(json!({"instructions": "x"})).await;
    let there = app.agent(&limited, "x").await;
    for (agent, runs) in [(&first, 2), (&there, 1)] {
        let workspace = if *agent == first {
            &owner.workspace_id
        } else {
            &second
        };
        let path = format!("/api/agent-base/{agent}/executions?product_id={workspace}");
        for _ in 0..runs {
            let body = json!({"input": {"text": "Go."}, "wait": true});
            let run = app.post(&path, body).bearer(&owner.access_token);
            run.send().await.expect(200);
        }
    }
    for (key, agents, runs) in [(&limited, 1, 1), (&owners, 2, 3), (&fixture.key, 2, 3)] {
        let report = app.get("/api/v1/usage").bearer(key).send().await;
        let report = report.expect(200)["data"].clone();
        assert_eq!(
            (&report["used"]["agents"], &report["used"]["runs"]),
            (&json!(agents), &json!(runs))
        );
        assert_eq!(report["days"][0]["runs"], runs);
    }
    let other = app.get(&format!("/api/v1/usage?agent_id={first}"));
    other.bearer(&limited).send().await.expect_refused(422);
}
