//! The whole system of a template, running in this process.

mod options;
mod start;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use runtime::{Clock, Config, Lambda, Services};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::options::{Data, DynamoDbFront, Options};

use crate::data_directory::DataDirectory;
use crate::embedded::dynamodb::DynamoDb;
use crate::invocation::Invoker;
use crate::template::{Deployment, Function};

/// A running platform. It lives on threads of its own, so it does not matter which runtime starts it. Dropping it ends it
/// at once; [`Platform::stop`] lets running work finish first.
pub struct Platform {
    address: SocketAddr,
    deployment: Deployment,
    functions: HashMap<String, Running>,
    config: Config,
    clock: Clock,
    invoker: Invoker,
    drain: Duration,
    /// Stops what brings work in: the gateway, event sources and schedules.
    intake: CancellationToken,
    intake_tasks: JoinSet<()>,
    /// Stops what the work needs: SQS and Secrets Manager.
    services: CancellationToken,
    service_tasks: JoinSet<()>,
    dynamodb: Option<DynamoDb>,
    runtime: Option<tokio::runtime::Runtime>,
    /// Is let go of last, when nothing here can write any more.
    _data: Option<DataDirectory>,
}

/// A function as it was started.
struct Running {
    environment: HashMap<String, String>,
    lambda: Lambda,
    timeout: Duration,
}

impl Platform {
    /// Starts everything that the template declares. Requests succeed once this resolves.
    ///
    /// # Errors
    /// The first thing that keeps the system from running; its chain of causes, joined, is one line that says where.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        start::start(options).await
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The gateway's port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The gateway's base URL, without a trailing slash.
    pub fn url(&self) -> String {
        let mut reachable = self.address;
        if reachable.ip().is_unspecified() {
            reachable.set_ip(if reachable.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
        }
        format!("http://{reachable}")
    }

    /// What the template declares.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The whole environment of a function, Lambda's own variables included: enough to start its real binary with.
    pub fn function_environment(&self, logical_id: &str) -> Option<&HashMap<String, String>> {
        self.functions.get(logical_id).map(|function| &function.environment)
    }

    /// Clients with the configuration that functions have, for administration. They share nothing with those of the
    /// functions, so they may be used on any runtime.
    pub fn services(&self) -> Services {
        Services::new(self.config.clone(), self.clock.clone())
    }

    /// Invokes a function that takes events, as a schedule would, and waits for its result.
    ///
    /// # Errors
    /// A function that does not exist, takes no events, or fails.
    pub async fn invoke(&self, logical_id: &str, event: Value) -> anyhow::Result<Value> {
        let function = self.functions.get(logical_id).with_context(|| format!("there is no function {logical_id}"))?;
        let Lambda::Event(handler) = &function.lambda else { bail!("{logical_id} takes no events") };
        let (handler, invocation) = (handler.clone(), self.invoker.invocation(function.timeout));
        let result = self.invoker.run(function.timeout, async move { handler(event, invocation).await }).await?;
        result.map_err(|error| anyhow::anyhow!(error)).with_context(|| format!("{logical_id} failed"))
    }

    /// Takes no more work in, lets what runs finish within the drain time, and closes the data directory.
    pub async fn stop(mut self) {
        self.intake.cancel();
        let drained = async {
            while self.intake_tasks.join_next().await.is_some() {}
            self.invoker.drained().await;
        };
        if tokio::time::timeout(self.drain + Duration::from_secs(1), drained).await.is_err() {
            tracing::warn!("functions were still running and are given up");
        }
        self.services.cancel();
        while self.service_tasks.join_next().await.is_some() {}
        if let Some(dynamodb) = self.dynamodb.take() {
            dynamodb.stop().await;
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.intake.cancel();
        self.services.cancel();
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not be dropped where blocking is forbidden, and a platform is mostly dropped in async code.
            runtime.shutdown_background();
        }
    }
}

/// The variables that Lambda itself sets, with what makes the AWS SDK talk to this machine.
fn lambda_environment(function: &Function, endpoints: &crate::template::Endpoints) -> HashMap<String, String> {
    use crate::template::REGION;
    let log_group = format!("/aws/lambda/{}", function.name);
    [
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local-secret".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoints.dynamodb.clone()),
        ("AWS_ENDPOINT_URL_SQS", endpoints.sqs.clone()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoints.secrets_manager.clone()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_megabytes.to_string()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "local".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
