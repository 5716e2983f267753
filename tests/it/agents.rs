//! `/api/agent-base` and `/api/v1/agents`: one entity, two faces.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, TestApp, TestResponse};

struct Clients {
    app: TestApp,
    account: Account,
    token: String,
    key: String,
}

impl Clients {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let account = app.register().await;
        let token = account.prodgy_token(&app).await;
        let key = account
            .agentplatform_key(&app, &["agents:read", "agents:write"])
            .await;
        Self {
            app,
            account,
            token,
            key,
        }
    }

    async fn prodgy(&self, method: Method, path: &str, body: Value) -> TestResponse {
        self.app
            .request(method, path)
            .bearer(&self.token)
            .json(body)
            .send()
            .await
    }

    async fn agentplatform(&self, method: Method, path: &str, body: Value) -> TestResponse {
        self.app
            .request(method, path)
            .bearer(&self.key)
            .json(body)
            .send()
            .await
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn an_agent_made_in_one_dialect_is_the_same_in_the_other() {
    let clients = Clients::start().await;
    let body = json!({"name": "Notes", "slug": "freeform", "parameters": {"instructions": "Summarise."}, "prompts": [{"title": "Tone", "content": "Be brief."}]});
    let installed = clients
        .prodgy(Method::POST, "/api/agent-base/install", body)
        .await
        .expect(201)["data"]
        .clone();
    let id = text(&installed["id"]);
    assert_eq!(
        installed["product_id"],
        clients.account.workspace_id.as_str()
    );
    assert_eq!(
        (
            &installed["status"],
            &installed["type"],
            &installed["version"]
        ),
        (&json!("active"), &json!("freeform"), &json!(1))
    );

    let shown = clients
        .agentplatform(Method::GET, &format!("/api/v1/agents/{id}"), json!({}))
        .await
        .expect(200)["data"]
        .clone();
    assert_eq!(
        (&shown["name"], &shown["status"]),
        (&json!("Notes"), &json!("idle"))
    );
    assert_eq!(shown["config"], installed["parameters"]);

    let patch = json!({"name": "Minutes", "config": {"instructions": "List the decisions."}});
    let patched = clients
        .agentplatform(Method::PATCH, &format!("/api/v1/agents/{id}"), patch)
        .await
        .expect(200)["data"]
        .clone();
    assert_eq!(patched["name"], "Minutes");
    let read = clients
        .prodgy(Method::GET, &format!("/api/agent-base/{id}"), json!({}))
        .await
        .expect(200)["data"]
        .clone();
    assert_eq!(
        (&read["version"], &read["parameters"]["instructions"]),
        (&json!(2), &json!("List the decisions."))
    );
    assert_eq!(read["prompts"], installed["prompts"]);

    assert_eq!(
        clients
            .agentplatform(Method::DELETE, &format!("/api/v1/agents/{id}"), json!({}))
            .await
            .status,
        204
    );
    clients
        .prodgy(Method::GET, &format!("/api/agent-base/{id}"), json!({}))
        .await
        .expect_refused(404);
}

#[tokio::test]
async fn an_earlier_version_can_be_made_current_again() {
    let clients = Clients::start().await;
    let create = json!({"name": "A", "type": "freeform", "parameters": {"instructions": "one"}});
    let first = clients
        .prodgy(Method::POST, "/api/agent-base", create)
        .await
        .expect(201)["data"]
        .clone();
    let path = format!("/api/agent-base/{}", text(&first["id"]));
    clients
        .prodgy(
            Method::PUT,
            &path,
            json!({"parameters": {"instructions": "two"}}),
        )
        .await
        .expect(200);
    let described = clients
        .prodgy(Method::PUT, &path, json!({"description": "no new version"}))
        .await
        .expect(200);
    assert_eq!(described["data"]["version"], 2);

    let versions = clients
        .prodgy(Method::GET, &format!("{path}/versions"), json!({}))
        .await
        .expect(200);
    let numbers: Vec<&Value> = versions["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| &version["version"])
        .collect();
    assert_eq!(numbers, [&json!(2), &json!(1)]);

    let back = clients
        .prodgy(
            Method::PUT,
            &path,
            json!({"version_id": first["version_id"]}),
        )
        .await
        .expect(200)["data"]
        .clone();
    assert_eq!(
        (&back["version"], &back["parameters"]["instructions"]),
        (&json!(1), &json!("one"))
    );
    let onwards = clients
        .prodgy(
            Method::PUT,
            &path,
            json!({"parameters": {"instructions": "three"}}),
        )
        .await
        .expect(200);
    assert_eq!(onwards["data"]["version"], 3);
}

#[tokio::test]
async fn pausing_and_resuming_show_in_both_dialects() {
    let clients = Clients::start().await;
    let create = json!({"name": "A", "type": "freeform", "config": {"instructions": "x"}, "schedule": "0 7 * * *", "timezone": "Europe/Berlin"});
    let agent = clients
        .agentplatform(Method::POST, "/api/v1/agents", create)
        .await
        .expect(201)["data"]
        .clone();
    let id = text(&agent["id"]);
    assert!(agent["next_run_at"].is_string());
    for _ in 0..2 {
        let paused = clients
            .agentplatform(
                Method::POST,
                &format!("/api/v1/agents/{id}/pause"),
                json!({}),
            )
            .await
            .expect(200);
        assert_eq!(
            (&paused["data"]["status"], &paused["data"]["next_run_at"]),
            (&json!("paused"), &json!(null))
        );
    }
    let read = clients
        .prodgy(Method::GET, &format!("/api/agent-base/{id}"), json!({}))
        .await
        .expect(200);
    assert_eq!(read["data"]["status"], "inactive");
    let active = clients
        .prodgy(
            Method::PUT,
            &format!("/api/agent-base/{id}"),
            json!({"status": "active"}),
        )
        .await
        .expect(200);
    assert_eq!(active["data"]["status"], "active");
    let resumed = clients
        .agentplatform(
            Method::POST,
            &format!("/api/v1/agents/{id}/resume"),
            json!({}),
        )
        .await
        .expect(200);
    assert_eq!(resumed["data"]["status"], "idle");
    assert!(resumed["data"]["next_run_at"].is_string());
}

#[tokio::test]
async fn the_catalogue_tells_what_can_be_installed() {
    let clients = Clients::start().await;
    let catalog = clients
        .prodgy(Method::GET, "/api/agent-base/catalog", json!({}))
        .await
        .expect(200)["data"]
        .clone();
    let available: Vec<(&str, bool)> = catalog
        .as_array()
        .unwrap()
        .iter()
        .map(|template| (text(&template["slug"]), template["available"] == true))
        .collect();
    assert_eq!(
        available,
        [
            ("freeform", true),
            ("weather_check", true),
            ("morning_briefing", true),
            ("support_triage", true)
        ]
    );

    let by_id = json!({"agent_template_id": catalog[1]["id"], "parameters": {"location": "Oslo"}});
    let installed = clients
        .prodgy(Method::POST, "/api/agent-base/install", by_id)
        .await
        .expect(201);
    assert_eq!(installed["data"]["type"], "weather_check");
    clients
        .prodgy(
            Method::POST,
            "/api/agent-base/install",
            json!({"slug": "support_triage"}),
        )
        .await
        .expect(201);
}

#[tokio::test]
async fn wrong_agents_are_refused_by_field_and_change_nothing() {
    let clients = Clients::start().await;
    let weather = |change: Value| {
        let mut body =
            json!({"name": "W", "type": "weather_check", "config": {"location": "Oslo"}});
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        body
    };
    for (body, field) in [
        (
            json!({"type": "weather_check", "config": {"location": "Oslo"}}),
            "name",
        ),
        (weather(json!({"type": "daily_weather"})), "type"),
        (
            weather(
                json!({"type": "support_triage", "config": {"priority_rules": [{"priority": "asap"}]}}),
            ),
            "config.priority_rules",
        ),
        (
            weather(json!({"type": "morning_briefing", "config": {"sections": ["news"]}})),
            "config.sections",
        ),
        (
            weather(
                json!({"type": "freeform", "config": {"instructions": "x", "allowed_agents": ["all"]}}),
            ),
            "config.allowed_agents",
        ),
        (weather(json!({"config": {}})), "config.location"),
        (
            weather(json!({"config": {"location": ["Oslo"]}})),
            "config.location",
        ),
        (weather(json!({"config": "Oslo"})), "config"),
        (weather(json!({"schedule": "every day"})), "schedule"),
        (weather(json!({"schedule": "0 0 30 2 *"})), "schedule"),
        (weather(json!({"schedule": "* * * * * *"})), "schedule"),
        (weather(json!({"schedule": "0,,30 * * * *"})), "schedule"),
        (
            weather(json!({"schedule": "0 7 * * *", "timezone": "Mars/Olympus"})),
            "timezone",
        ),
        (weather(json!({"name": "x".repeat(201)})), "name"),
        (weather(json!({"name": "bell\u{7}"})), "name"),
        (weather(json!({"name": "NYC \u{202e}rehtaeW"})), "name"),
    ] {
        let answer = clients
            .agentplatform(Method::POST, "/api/v1/agents", body.clone())
            .await;
        let told = answer.expect_refused(422);
        assert!(answer.body["errors"][field].is_array(), "{body}: {told}");
    }
    let listed = clients
        .agentplatform(Method::GET, "/api/v1/agents", json!({}))
        .await
        .expect(200);
    assert_eq!(listed["data"], json!([]));
}

#[tokio::test]
async fn lists_go_on_with_a_cursor_and_pages_reach_the_first_thousand() {
    let clients = Clients::start().await;
    for number in 0..5 {
        let body = json!({"name": format!("A{number}"), "type": "freeform", "config": {"instructions": "x"}});
        clients
            .agentplatform(Method::POST, "/api/v1/agents", body)
            .await
            .expect(201);
    }
    let names = |page: &Value| {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|agent| text(&agent["name"]).to_owned())
            .collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    let mut path = "/api/v1/agents?limit=2".to_owned();
    loop {
        let page = clients
            .agentplatform(Method::GET, &path, json!({}))
            .await
            .expect(200);
        seen.extend(names(&page));
        match page["meta"]["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/agents?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["A4", "A3", "A2", "A1", "A0"]);

    let product = format!("/api/agent-base/product/{}", clients.account.workspace_id);
    let page = clients
        .prodgy(
            Method::GET,
            &format!("{product}?page=2&pageSize=2"),
            json!({}),
        )
        .await
        .expect(200);
    assert_eq!(names(&page), ["A2", "A1"]);
    assert_eq!(
        (
            &page["pagination"]["total"],
            &page["pagination"]["totalPages"]
        ),
        (&json!(5), &json!(3))
    );
    assert_eq!(
        names(
            &clients
                .prodgy(Method::GET, "/api/agent-base?limit=1", json!({}))
                .await
                .expect(200)
        ),
        ["A4"]
    );
    let told = clients
        .prodgy(Method::GET, "/api/agent-base?page=500", json!({}))
        .await
        .expect_refused(400);
    assert!(told.contains("cursor"), "{told}");
}

#[tokio::test]
async fn the_same_idempotency_key_makes_one_agent_also_at_the_same_time() {
    let clients = Clients::start().await;
    let create = || {
        let body = json!({"name": "Once", "type": "freeform", "config": {"instructions": "x"}});
        clients
            .app
            .post("/api/v1/agents", body)
            .bearer(&clients.key)
            .header("idempotency-key", "k-1")
            .send()
    };
    let (first, second) = tokio::join!(create(), create());
    for answer in [&first, &second] {
        assert!(
            [201, 409].contains(&answer.status.as_u16()),
            "{}",
            answer.text
        );
    }
    let again = create().await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    let listed = clients
        .agentplatform(Method::GET, "/api/v1/agents", json!({}))
        .await
        .expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(listed["data"][0]["id"], again.body["data"]["id"]);
}

#[tokio::test]
async fn concurrent_changes_of_one_agent_all_happen() {
    let clients = Clients::start().await;
    let create = json!({"name": "A", "type": "freeform", "config": {"instructions": "x"}});
    let agent = clients
        .agentplatform(Method::POST, "/api/v1/agents", create)
        .await
        .expect(201)["data"]
        .clone();
    let path = format!("/api/v1/agents/{}", text(&agent["id"]));
    let (renamed, scheduled) = tokio::join!(
        clients.agentplatform(Method::PATCH, &path, json!({"name": "B"})),
        clients.agentplatform(Method::PATCH, &path, json!({"schedule": "0 7 * * *"})),
    );
    renamed.expect(200);
    scheduled.expect(200);
    let agent = clients
        .agentplatform(Method::GET, &path, json!({}))
        .await
        .expect(200)["data"]
        .clone();
    assert_eq!(
        (&agent["name"], &agent["schedule"]),
        (&json!("B"), &json!("0 7 * * *"))
    );
}

#[tokio::test]
async fn prompts_are_measured_as_they_are_stored() {
    let clients = Clients::start().await;
    let prompts: Vec<Value> = (0..5)
        .map(|number| json!({"title": format!("P{number}"), "content": "\u{1}".repeat(14_000)}))
        .collect();
    let body = json!({"name": "A", "type": "freeform", "config": {"instructions": "x"}, "prompts": prompts});
    let answer = clients
        .agentplatform(Method::POST, "/api/v1/agents", body)
        .await;
    answer.expect_refused(422);
    assert!(
        answer.body["errors"]["prompts"].is_array(),
        "{}",
        answer.text
    );
}
