//! `/api/settings/api-keys/activity`: what keys asked for.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, eventually_some};

const LOG: &str = "/api/settings/api-keys/activity";

async fn read(app: &TestApp, credential: &str, path: &str) -> Value {
    let get = app.get(&format!("{LOG}{path}")).bearer(credential);
    get.send().await.expect(200)
}

/// The log once it has `total` rows: they are written after the responses.
async fn log_of(app: &TestApp, account: &Account, total: usize) -> Vec<Value> {
    let session = account.sign_in(app).await;
    let rows = eventually_some("the log has its rows", async || {
        let log = read(app, &session, "?limit=200").await;
        let rows = log["items"].as_array().unwrap();
        (rows.len() >= total && log["total"] == rows.len()).then(|| rows.clone())
    });
    let rows = rows.await;
    assert_eq!(rows.len(), total);
    rows
}

fn told<'a>(rows: &'a [Value], field: &str) -> Vec<&'a Value> {
    rows.iter().map(|row| &row[field]).collect()
}

#[tokio::test]
async fn every_request_with_a_known_key_is_kept_whatever_became_of_it() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let prodgy = account.prodgy_token(&app).await;
    let prowpt = account.prowpt_key(&app, &["*"]).await;
    let body = json!({"name": "x", "kind": "agentplatform", "scopes": ["agents:read"], "rate_limit_per_minute": 4});
    let made = app
        .post("/api/settings/api-keys", body)
        .bearer(&account.access_token)
        .send()
        .await
        .expect(201);
    let (key, key_id) = (made["key"].as_str().unwrap(), &made["id"]);
    // A window of a minute must not end in between.
    app.clock
        .advance(TimeDelta::seconds(60 - app.clock.now().timestamp() % 60));

    app.get("/api/agent-base?secret=hidden")
        .bearer(&prodgy)
        .send()
        .await
        .expect(200);
    let me = app.get("/api/auth/me/").header("x-api-key", &prowpt);
    let me = me.header("user-agent", "a robot").send().await;
    me.expect(200);
    let agents = "/api/v1/agents";
    let other = "/api/v1/agents/01940000-0000-7000-8000-000000000000";
    for (method, path, status) in [
        (Method::GET, agents, 200),
        (Method::POST, agents, 403),
        (Method::GET, other, 404),
        (Method::GET, "/api/v1/agents?limit=0", 422),
        (Method::GET, agents, 429),
    ] {
        let request = app.request(method, path).bearer(key).json(json!({}));
        assert_eq!(request.send().await.status, status, "{path}");
    }
    // Neither of these requests shows a key that exists.
    app.get(agents).send().await.expect_refused(401);
    let unknown = format!("ap_live_{}", "x".repeat(40));
    app.get(agents)
        .bearer(&unknown)
        .send()
        .await
        .expect_refused(401);

    let rows = log_of(&app, &account, 7).await;
    let statuses = [429, 422, 404, 403, 200, 200, 200];
    assert_eq!(told(&rows, "status"), statuses.map(Value::from).each_ref());
    assert!(told(&rows[..5], "key_id").iter().all(|id| *id == key_id));
    let missed = &rows[2];
    assert_eq!(
        (&missed["method"], &missed["path"], &missed["route"]),
        (&json!("GET"), &json!(other), &json!("/api/v1/agents/{id}"))
    );
    assert_eq!(
        (&missed["project_id"], &missed["ip"]),
        (&Value::Null, &json!("127.0.0.1"))
    );
    assert!(missed["duration_ms"].as_u64().unwrap() >= 1);
    assert_eq!(missed["request_id"].as_str().unwrap().len(), 36);
    assert_eq!(rows[5]["path"], "/api/auth/me");
    assert_eq!(rows[5]["user_agent"], "a robot");
    assert_eq!(rows[6]["path"], "/api/agent-base");
    assert!(!json!(rows).to_string().contains("hidden"));

    // A key that was switched off is still known, and a stranger sees nothing of all this.
    let patch = format!("/api/settings/api-keys/{}", key_id.as_str().unwrap());
    let off = app.request(Method::PATCH, &patch);
    let off = off.json(json!({"is_active": false}));
    off.bearer(&account.access_token).send().await.expect(200);
    app.clock.advance(TimeDelta::minutes(1));
    app.get(agents).bearer(key).send().await.expect_refused(401);
    assert_eq!(log_of(&app, &account, 8).await[0]["status"], 401);
    let stranger = app.register().await;
    let theirs = read(&app, &stranger.access_token, "").await;
    assert_eq!(
        (&theirs["total"], &theirs["items"]),
        (&json!(0), &json!([]))
    );
    let path = format!("{LOG}?workspace_id={}", account.workspace_id);
    let get = app.get(&path).bearer(&stranger.access_token);
    get.send().await.expect_refused(404);
}

#[tokio::test]
async fn the_log_is_filtered_paged_and_counted() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let scopes = &["agents:read", "agents:write"];
    let first = account.agentplatform_key(&app, scopes).await;
    let second = account.agentplatform_key(&app, scopes).await;
    // From noon on, so that days are as the test has them.
    let noon = app.clock.now().date_naive().and_hms_opt(12, 0, 0).unwrap();
    app.clock
        .advance(noon.and_utc() + TimeDelta::days(1) - app.clock.now());
    let start = app.clock.now();
    for _ in 0..2 {
        for (key, method) in [
            (&first, Method::GET),
            (&second, Method::GET),
            (&second, Method::POST),
        ] {
            app.clock.advance(TimeDelta::seconds(1));
            app.request(method, "/api/v1/agents")
                .bearer(key)
                .send()
                .await;
        }
        app.clock.advance(TimeDelta::days(3));
    }
    let rows = log_of(&app, &account, 6).await;
    let key = rows[2]["key_id"].as_str().unwrap();
    let last_day = (start + TimeDelta::days(3)).date_naive();
    let at =
        |row: &Value| -> DateTime<Utc> { row["created_at"].as_str().unwrap().parse().unwrap() };
    let time = at(&rows[1]).to_rfc3339().replace("+00:00", "Z");
    let session = &account.sign_in(&app).await;
    for (query, expected) in [
        (format!("key_id={key}"), vec![2, 5]),
        ("method=post".to_owned(), vec![0, 3]),
        ("status=200".to_owned(), vec![1, 2, 4, 5]),
        ("status=4xx".to_owned(), vec![0, 3]),
        (format!("status=2xx&key_id={key}&from={last_day}"), vec![2]),
        (format!("to={last_day}"), vec![3, 4, 5]),
        (format!("from={last_day}&to={time}"), vec![2]),
        (format!("from={time}"), vec![0, 1]),
        ("project_id=7".to_owned(), vec![]),
        ("limit=2&offset=3".to_owned(), vec![3, 4]),
        ("status=2xx&limit=2&offset=1".to_owned(), vec![2, 4]),
    ] {
        let page = read(&app, session, &format!("?{query}")).await;
        let ids = told(page["items"].as_array().unwrap(), "id");
        let wanted: Vec<&Value> = expected.iter().map(|index| &rows[*index]["id"]).collect();
        assert_eq!(ids, wanted, "{query}");
        if !query.contains("limit") {
            assert_eq!(page["total"], expected.len(), "{query}");
        }
    }

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("?limit=2&status=2xx{cursor}");
        let page = read(&app, session, &path).await;
        assert_eq!(page["total"], 4);
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let wanted = [1, 2, 4, 5].map(|index: usize| rows[index].clone());
    assert_eq!(seen, wanted);

    for (query, field) in [
        ("key_id=x", "key_id"),
        ("project_id=x", "project_id"),
        ("method=FLY", "method"),
        ("status=6xx", "status"),
        ("from=noon", "from"),
        ("limit=201", "limit"),
        ("offset=1000", "cursor"),
        ("cursor=x", "cursor"),
    ] {
        let get = app.get(&format!("{LOG}?{query}")).bearer(session);
        let told = get.send().await.expect_refused(422);
        assert!(told.contains(field), "{query}: {told}");
    }
}

#[tokio::test]
async fn the_statistics_are_those_of_the_log_and_of_ninety_days() {
    let app = TestApp::start().await;
    let account = app.register().await;
    let prodgy = account.prodgy_token(&app).await;
    let all = account.prowpt_key(&app, &["*"]).await;
    let some = account.prowpt_key(&app, &["projects:*"]).await;
    let stats = async || read(&app, &account.sign_in(&app).await, "/stats").await;
    assert_eq!(
        stats().await,
        json!({"total_requests": 0, "requests_today": 0, "active_keys": 3, "avg_response_ms": 0.0})
    );
    for _ in 0..2 {
        app.get("/api/agent-base").bearer(&prodgy).send().await;
    }
    log_of(&app, &account, 2).await;
    let first = stats().await;
    assert_eq!(
        (&first["total_requests"], &first["requests_today"]),
        (&json!(2), &json!(2))
    );
    assert!(first["avg_response_ms"].as_f64().unwrap() > 0.0);

    app.clock.advance(TimeDelta::days(1));
    // A key may read the log if it may do everything; that is a request of its own.
    let told = app.get(&format!("{LOG}/stats")).bearer(&some).send().await;
    assert!(told.expect_refused(403).contains('*'));
    read(&app, &all, "/stats").await;
    app.get(LOG)
        .bearer(&prodgy)
        .send()
        .await
        .expect_refused(401);
    log_of(&app, &account, 4).await;
    let second = stats().await;
    assert_eq!(
        (&second["total_requests"], &second["requests_today"]),
        (&json!(4), &json!(2))
    );

    app.clock.advance(TimeDelta::days(90));
    assert_eq!(stats().await["total_requests"], 2);
}

#[tokio::test]
async fn a_request_counts_once_however_many_ticks_look_at_it() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let (used, deleted) = (
        account.prowpt_key(&app, &["*"]).await,
        account.prowpt_key(&app, &["*"]).await,
    );
    for key in [&used, &used, &deleted] {
        let me = app.get("/api/auth/me").header("x-api-key", key);
        me.send().await.expect(200);
    }
    log_of(&app, &account, 3).await;
    let keys = async || {
        let session = account.sign_in(&app).await;
        let keys = app.get("/api/settings/api-keys").bearer(&session);
        keys.send().await.expect(200)["items"].clone()
    };
    let deleted_id = keys().await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/settings/api-keys/{deleted_id}");
    let session = account.sign_in(&app).await;
    let gone = app.request(Method::DELETE, &path).bearer(&session);
    gone.send().await.expect(204);

    // Too soon: a row may still be on its way.
    assert_eq!(app.tick().await["requests"], 0);
    app.clock.advance(TimeDelta::minutes(1));
    let (one, other) = tokio::join!(app.tick(), app.tick());
    let counted = [&one, &other].map(|tick| tick["requests"].as_u64().unwrap());
    assert_eq!(counted.iter().sum::<u64>(), 3, "{counted:?}");
    assert_eq!(app.tick().await["requests"], 0);
    let left = keys().await;
    assert_eq!(
        (left.as_array().unwrap().len(), &left[0]["usage_count"]),
        (1, &json!(2))
    );
    let session = account.sign_in(&app).await;
    let stats = read(&app, &session, "/stats").await;
    assert_eq!(stats["total_requests"], 3);

    // A workspace that was idle for a while is found again.
    app.clock.advance(TimeDelta::minutes(5));
    app.tick().await;
    app.tick().await;
    let me = app.get("/api/auth/me").header("x-api-key", &used);
    me.send().await.expect(200);
    log_of(&app, &account, 4).await;
    app.clock.advance(TimeDelta::minutes(1));
    assert_eq!(app.tick().await["requests"], 1);
    assert_eq!(keys().await[0]["usage_count"], 3);
}
