//! The functions as they are deployed: their binaries, behind the Lambda Runtime API.

use http::Method;
use local::Options;
use serde_json::{Value, json};
use testkit::{QueueMessage, RestRequest, TestApp, TestFunction};

/// A platform whose queue no worker empties, and an agent on it.
struct Fixture {
    app: TestApp,
    token: String,
    executions: String,
}

impl Fixture {
    async fn start() -> Self {
        let app = TestApp::with(|options| Options {
            event_sources: false,
            ..options
        })
        .await;
        let account = app.register().await;
        let token = account.prodgy_token(&app).await;
        let instructions = json!({"instructions": "Sum up what you are given."});
        let body = json!({"type": "freeform", "name": "Reader", "parameters": instructions});
        let install = app.post("/api/agent-base/install", body).bearer(&token);
        let installed = install.send().await.expect(201);
        let agent = installed["data"]["id"].as_str().expect("an id");
        let executions = format!("/api/agent-base/{agent}/executions");
        Self {
            app,
            token,
            executions,
        }
    }

    async fn start_execution(&self) -> String {
        let input = json!({"text": "The pool was too small. It was made larger on Friday."});
        let start = self.app.post(&self.executions, json!({"input": input}));
        let accepted = start.bearer(&self.token).send().await.expect(202);
        assert_eq!(accepted["data"]["status"], "queued");
        let id = accepted["data"]["execution_id"].as_str();
        id.expect("an id").to_owned()
    }

    async fn execution(&self, id: &str) -> Value {
        let path = format!("{}/{id}", self.executions);
        let answer = self.app.get(&path).bearer(&self.token).send().await;
        answer.expect(200)["data"].clone()
    }

    /// Takes a message from the run queue, as an event source would.
    async fn message(&self) -> QueueMessage {
        let platform = &self.app.platform;
        let environment = platform.function_environment("ExecutionsWorkerFunction");
        let queue = &environment.expect("the worker's environment")["RUN_QUEUE_URL"];
        let receive = platform.services().sqs.receive_message().queue_url(queue);
        let received = receive.wait_time_seconds(10).send().await;
        let received = received.expect("the queue answers");
        let [message] = received.messages() else {
            panic!("one message: {received:?}")
        };
        let (id, body) = (message.message_id(), message.body());
        QueueMessage::new(id.expect("an id"), body.expect("a body"))
    }

    async fn worker(&self) -> TestFunction {
        let binary = env!("CARGO_BIN_EXE_executions-worker");
        TestFunction::start(&self.app, "ExecutionsWorkerFunction", binary).await
    }
}

#[tokio::test]
async fn the_worker_carries_a_queued_run_to_its_end() {
    let fixture = Fixture::start().await;
    let id = fixture.start_execution().await;
    let worker = fixture.worker().await;

    let failed = worker.deliver("RunQueue", [fixture.message().await]).await;
    assert!(failed.is_empty(), "{failed:?}");
    let execution = fixture.execution(&id).await;
    assert_eq!(execution["status"], "completed", "{execution}");
    assert!(
        execution["output"].to_string().contains("pool"),
        "{execution}"
    );
}

#[tokio::test]
async fn a_message_that_comes_twice_changes_nothing() {
    let fixture = Fixture::start().await;
    let id = fixture.start_execution().await;
    let worker = fixture.worker().await;

    let message = fixture.message().await;
    assert!(
        worker
            .deliver("RunQueue", [message.clone()])
            .await
            .is_empty()
    );
    let first = fixture.execution(&id).await;
    assert!(worker.deliver("RunQueue", [message]).await.is_empty());
    assert_eq!(fixture.execution(&id).await, first);
}

#[tokio::test]
async fn only_the_unreadable_message_of_a_batch_fails() {
    let fixture = Fixture::start().await;
    let id = fixture.start_execution().await;
    let worker = fixture.worker().await;

    let unreadable = QueueMessage::new("unreadable", r#"{"type":"run.advance.v9"}"#);
    let batch = [unreadable, fixture.message().await];
    assert_eq!(worker.deliver("RunQueue", batch).await, ["unreadable"]);
    assert_eq!(fixture.execution(&id).await["status"], "completed");
}

#[tokio::test]
async fn an_execution_started_through_the_binary_is_carried_out() {
    let fixture = Fixture::start().await;
    let binary = env!("CARGO_BIN_EXE_executions");
    let function = TestFunction::start(&fixture.app, "ExecutionsFunction", binary).await;
    let start = RestRequest::new(Method::POST, &fixture.executions)
        .bearer(&fixture.token)
        .json(&json!({"input": {"text": "Rain is expected. Take an umbrella."}}));
    let accepted = function.send(start).await.expect(202);
    let id = accepted["data"]["execution_id"].as_str().expect("an id");

    let worker = fixture.worker().await;
    assert!(
        worker
            .deliver("RunQueue", [fixture.message().await])
            .await
            .is_empty()
    );
    assert_eq!(fixture.execution(id).await["status"], "completed");
}
