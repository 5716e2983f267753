//! The function as it is deployed: its binary, behind the Lambda Runtime API.

use http::Method;
use serde_json::{Value, json};
use testkit::{RestRequest, TestApp, TestFunction, TestResponse, eventually};

/// The platform, and the binary that works on the same data.
struct Deployed {
    app: TestApp,
    function: TestFunction,
    prodgy: String,
    agentplatform: String,
}

impl Deployed {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let binary = env!("CARGO_BIN_EXE_agents");
        let function = TestFunction::start(&app, "AgentsFunction", binary).await;
        let account = app.register().await;
        let prodgy = account.prodgy_token(&app).await;
        let scopes = ["agents:read", "agents:write"];
        let agentplatform = account.agentplatform_key(&app, &scopes).await;
        Self {
            app,
            function,
            prodgy,
            agentplatform,
        }
    }

    /// Sends one request both ways and checks that the answers are the same but for the request's id.
    async fn both(
        &self,
        method: Method,
        path: &str,
        credential: &str,
        body: Option<&str>,
    ) -> TestResponse {
        let event = RestRequest::new(method.clone(), path).bearer(credential);
        let request = self.app.request(method, path).bearer(credential);
        let (event, request) = match body {
            Some(body) => (
                event
                    .header("content-type", "application/json")
                    .body(body.to_owned()),
                request.raw(body),
            ),
            None => (event, request),
        };
        let (bootstrap, gateway) = tokio::join!(self.function.send(event), request.send());
        assert_eq!(
            bootstrap.status, gateway.status,
            "{path}: {}",
            bootstrap.text
        );
        assert_eq!(comparable(&bootstrap), comparable(&gateway), "{path}");
        for header in [
            "content-type",
            "x-content-type-options",
            "access-control-allow-origin",
        ] {
            assert_eq!(bootstrap.header(header), gateway.header(header), "{path}");
        }
        bootstrap
    }
}

/// A body without what is made anew for every request.
fn comparable(answer: &TestResponse) -> Value {
    let mut body = answer.body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("request_id");
        fields.remove("timestamp");
    }
    body
}

#[tokio::test]
async fn an_agent_made_by_the_binary_is_read_through_the_gateway() {
    let deployed = Deployed::start().await;
    let config = json!({"instructions": "Sum it up."});
    let body = json!({"name": "Larkspur", "type": "freeform", "config": config});
    let create = RestRequest::new(Method::POST, "/api/v1/agents")
        .bearer(&deployed.agentplatform)
        .json(&body);
    let created = deployed.function.send(create).await.expect(201);
    let id = created["data"]["id"].as_str().expect("an id");

    let path = format!("/api/v1/agents/{id}");
    let read = deployed.app.get(&path).bearer(&deployed.agentplatform);
    assert_eq!(read.send().await.expect(200), created);

    deployed
        .both(Method::GET, &path, &deployed.agentplatform, None)
        .await
        .expect(200);
    let prodgy = format!("/api/agent-base/{id}");
    deployed
        .both(Method::GET, &prodgy, &deployed.prodgy, None)
        .await
        .expect(200);
    let listed = deployed
        .both(
            Method::GET,
            "/api/agent-base?page=1&pageSize=5",
            &deployed.prodgy,
            None,
        )
        .await;
    assert_eq!(listed.expect(200)["pagination"]["pageSize"], 5);
}

#[tokio::test]
async fn paths_are_found_behind_a_stage_and_with_a_trailing_slash() {
    let deployed = Deployed::start().await;
    for path in ["/api/v1/agents", "/api/v1/agents/"] {
        deployed
            .both(Method::GET, path, &deployed.agentplatform, None)
            .await
            .expect(200);
        for stage in ["prod", "api"] {
            let staged = RestRequest::new(Method::GET, path)
                .stage(stage)
                .bearer(&deployed.agentplatform);
            deployed.function.send(staged).await.expect(200);
        }
    }
}

#[tokio::test]
async fn refusals_have_the_faces_that_the_gateway_shows() {
    let deployed = Deployed::start().await;
    let (prodgy, agentplatform) = (&deployed.prodgy, &deployed.agentplatform);
    let unknown = "/api/agent-base/0198c0de-0000-7000-8000-000000000000";
    let not_json = Some("{");
    let incomplete = Some("{}");
    for (method, path, credential, body, status) in [
        (Method::GET, "/api/agent-base", "prodgy_wrong", None, 401),
        (Method::GET, "/api/v1/agents", prodgy, None, 401),
        (Method::GET, unknown, prodgy, None, 404),
        (
            Method::GET,
            "/api/v1/agents/not-an-id",
            agentplatform,
            None,
            404,
        ),
        (Method::PUT, "/api/v1/agents", agentplatform, None, 405),
        (Method::POST, "/api/v1/agents", agentplatform, not_json, 400),
        (
            Method::POST,
            "/api/v1/agents",
            agentplatform,
            incomplete,
            422,
        ),
        (
            Method::POST,
            "/api/agent-base/install",
            prodgy,
            incomplete,
            400,
        ),
    ] {
        let answer = deployed.both(method, path, credential, body).await;
        answer.expect_refused(status);
    }
}

#[tokio::test]
async fn the_binary_keeps_its_requests_in_the_log_once_they_are_answered() {
    let app = TestApp::start().await;
    let binary = env!("CARGO_BIN_EXE_agents");
    let function = TestFunction::start(&app, "AgentsFunction", binary).await;
    let account = app.register().await;
    let key = account.agentplatform_key(&app, &["agents:read"]).await;
    for path in ["/api/v1/agents", "/api/v1/agents?limit=0"] {
        function
            .send(RestRequest::new(Method::GET, path).bearer(&key))
            .await;
    }
    // An event that is none is answered too, and holds nothing up.
    function.invoke(json!({})).await.unwrap_err();
    eventually("the requests are kept", async || {
        let log = app.get("/api/settings/api-keys/activity");
        let log = log.bearer(&account.access_token).send().await.expect(200);
        let rows = log["items"].as_array().unwrap();
        let statuses: Vec<&Value> = rows.iter().map(|row| &row["status"]).collect();
        statuses == [422, 200]
    })
    .await;
}
