//! The whole system of a template, running in this process.

mod access_file;
mod environment;
mod listening;
mod options;
mod processes;
mod services;
mod start;
mod threads;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use runtime::{Clock, Config, Services};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::options::{Bootstraps, Data, Options, Proxy, TemplateSource};
pub use crate::embedded::authenticator::Upstream;

use self::access_file::AccessFile;
use self::threads::Threads;
use crate::data_directory::DataDirectory;
use crate::embedded::dynamodb::DynamoDb;
use crate::embedded::s3::Objects;
use crate::embedded::secrets_manager::Secrets;
use crate::embedded::sqs::{Backlog, Queues};
use crate::hosting::{FunctionHandle, Kind, Pools};
use crate::invocation::Invoker;
use crate::template::Deployment;

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
    listeners: Tasks,
    services: Tasks,
    pools: Pools,
    // The order of the rest is the order of their end: the functions, what they write to, the lock around it.
    threads: Threads,
    dynamodb: DynamoDb,
    queues: Queues,
    _objects: Objects,
    secrets: Arc<Secrets>,
    _access_file: Option<AccessFile>,
    data: Option<DataDirectory>,
}

/// A function as it was started.
struct Running {
    environment: HashMap<String, String>,
    hosted: FunctionHandle,
}

/// Tasks that end together.
#[derive(Default)]
struct Tasks {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Tasks {
    async fn stop(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Platform {
    /// Starts everything that the template declares. Requests succeed once this resolves.
    ///
    /// # Errors
    /// The first thing that keeps the system from running. Its chain of causes, joined, is one line that says where.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        start::start(options).await
    }

    /// The address that the gateway listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The gateway's port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The gateway's base URL as this machine reaches it, without a trailing slash.
    pub fn url(&self) -> String {
        let mut reachable = self.address;
        match reachable {
            SocketAddr::V4(address) if address.ip().is_unspecified() => {
                reachable.set_ip(Ipv4Addr::LOCALHOST.into())
            }
            SocketAddr::V6(address) if address.ip().is_unspecified() => {
                reachable.set_ip(Ipv6Addr::LOCALHOST.into())
            }
            _ => {}
        }
        format!("http://{reachable}")
    }

    /// Returns `true` if there was no data before: the data directory is new, or there is none.
    pub fn is_first_start(&self) -> bool {
        self.data.as_ref().is_none_or(DataDirectory::is_new)
    }

    /// The resources that the template declares.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The whole environment of a function, Lambda's own variables included: enough to start its real binary with.
    pub fn function_environment(&self, logical_id: &str) -> Option<&HashMap<String, String>> {
        self.functions
            .get(logical_id)
            .map(|function| &function.environment)
    }

    /// Clients with the configuration that functions have, for administration. They share no connection with those of the
    /// functions, so they may be used on any runtime.
    pub fn services(&self) -> Services {
        Services::new(self.config.clone(), self.clock.clone())
    }

    /// Gives every secret another value, as an operator does in Secrets Manager. Functions hear of it when they ask again, within
    /// five minutes.
    ///
    /// # Errors
    /// The data directory cannot be written; then nothing has changed.
    pub fn rotate_secrets(&self) -> anyhow::Result<()> {
        self.secrets.rotate()
    }

    /// Invokes a function that takes events, as a schedule would, and waits for its result.
    ///
    /// # Errors
    /// A function that does not exist, takes no events, or fails.
    pub async fn invoke(&self, logical_id: &str, event: Value) -> anyhow::Result<Value> {
        let function = self
            .functions
            .get(logical_id)
            .with_context(|| format!("there is no function {logical_id}"))?;
        ensure!(
            function.hosted.kind() == Kind::Events,
            "{logical_id} takes no events"
        );
        function
            .hosted
            .handle_event(event)
            .await
            .map_err(|failure| anyhow!(failure))
            .with_context(|| format!("{logical_id} failed"))
    }

    /// The messages in the platform's queues, which may be asked for as long as the platform runs.
    pub fn backlog(&self) -> Backlog {
        let queues = self.deployment.queues.iter();
        let urls = queues.map(|queue| (queue.logical_id.clone(), queue.url.clone()));
        let runtime = self.threads.handle().clone();
        Backlog::new(runtime, self.queues.clone(), urls.collect())
    }

    /// Takes no more work in, lets what runs finish within the drain time, and closes the data directory.
    pub async fn stop(mut self) {
        let drained = async {
            self.listeners.stop().await;
            self.invoker.drained().await;
        };
        if tokio::time::timeout(self.drain, drained).await.is_err() {
            tracing::warn!("functions were still running and are given up");
        }
        self.pools.stop().await;
        self.services.stop().await;
        self.dynamodb.stop().await;
    }
}
