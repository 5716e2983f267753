//! A function as its real binary, beside the platform that runs it as a library.

use std::path::Path;
use std::time::Duration;

use local::lambda_events::{QueueMessage, RestRequest, RestResponse, sqs_event};
use local::runtime_api::{Bootstrap, BootstrapError};
use serde_json::Value;

use crate::{TestApp, TestResponse};

/// A running binary that works on a platform's data.
pub struct TestFunction {
    bootstrap: Bootstrap,
    timeout: Duration,
}

impl TestFunction {
    /// Starts the binary with the environment that the template gives to the function of this logical id.
    pub async fn start(app: &TestApp, logical_id: &str, binary: impl AsRef<Path>) -> Self {
        let platform = &app.platform;
        let function = platform.deployment().function(logical_id);
        let timeout = function
            .unwrap_or_else(|| panic!("there is no function {logical_id}"))
            .timeout;
        let environment = platform.function_environment(logical_id);
        let environment = environment.expect("a function has an environment");
        let bootstrap = Bootstrap::start(binary, environment)
            .await
            .unwrap_or_else(|error| panic!("{logical_id} starts: {error}"));
        Self { bootstrap, timeout }
    }

    /// Has the function answer a request that came through API Gateway.
    pub async fn send(&self, request: RestRequest) -> TestResponse {
        let result = self.invoke(request.into_event()).await;
        let result = result.unwrap_or_else(|error| panic!("an answer: {error}"));
        let response = RestResponse::read(result).expect("a response that a gateway understands");
        TestResponse::new(
            response.status,
            response.headers,
            String::from_utf8_lossy(&response.body).into_owned(),
        )
    }

    /// Gives the function a batch of messages and returns the ids of those that failed.
    pub async fn deliver(
        &self,
        queue: &str,
        messages: impl IntoIterator<Item = QueueMessage>,
    ) -> Vec<String> {
        let result = self.invoke(sqs_event(queue, messages)).await;
        let result = result.unwrap_or_else(|error| panic!("a batch response: {error}"));
        let failures = result["batchItemFailures"].as_array();
        let failures = failures.unwrap_or_else(|| panic!("no batch response: {result}"));
        let id = |failure: &Value| failure["itemIdentifier"].as_str().map(str::to_owned);
        let ids = failures.iter().map(|failure| id(failure).expect("an id"));
        ids.collect()
    }

    /// Gives the function any event.
    pub async fn invoke(&self, event: Value) -> Result<Value, BootstrapError> {
        self.bootstrap.invoke(event, self.timeout).await
    }
}
