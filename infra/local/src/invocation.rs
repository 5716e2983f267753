//! Invoking a function's code as Lambda would: with a deadline, to the end even if the caller is gone, and so that a panic
//! costs one answer.

use std::future::Future;
use std::time::Duration;

use chrono::TimeDelta;
use runtime::{Clock, Invocation};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// The reason why an invocation gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the function panicked")]
    Panicked,
    #[error("the function ran into its timeout")]
    TimedOut,
}

/// Runs invocations on the platform's runtime and knows when all of them are over.
#[derive(Clone)]
pub(crate) struct Invoker {
    clock: Clock,
    runtime: Handle,
    tasks: TaskTracker,
}

impl Invoker {
    pub(crate) fn new(clock: Clock, runtime: Handle) -> Self {
        Self {
            clock,
            runtime,
            tasks: TaskTracker::new(),
        }
    }

    /// The environment of a function that starts now.
    pub(crate) fn invocation(&self, timeout: Duration) -> Invocation {
        Invocation {
            deadline: self.clock.now() + TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX),
        }
    }

    /// Runs `work` in a task of its own, so that it ends even if the caller stops waiting.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        // The timer is made inside, so that it belongs to the platform's runtime and not to the caller's.
        let limited = async move { tokio::time::timeout(timeout, work).await };
        let task = self.tasks.spawn_on(limited, &self.runtime);
        match task.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(Failure::TimedOut),
            // Only the end of the runtime aborts these tasks, and then the caller is gone as well.
            Err(_) => Err(Failure::Panicked),
        }
    }

    /// Starts work around invocations that the end of the platform has to wait for.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// Resolves once no invocation runs any more. None may be started after this was called.
    pub(crate) async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
