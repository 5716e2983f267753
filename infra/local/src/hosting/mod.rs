//! Functions, wherever their code runs: as libraries in this process, or each in processes of its own behind the Lambda
//! Runtime API. Gateway, event sources and schedules do not know which.

mod http;
mod pool;

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use bytes::Bytes;
use runtime::Lambda;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

pub(crate) use self::http::HttpCall;
pub(crate) use self::pool::{Pool, Pools, Program, QueueWait};

use crate::invocation::{self, Invoker};
use crate::lambda_events::proxy::Malformed;
use crate::runtime_api::BootstrapError;

/// A function that runs.
#[derive(Clone)]
pub(crate) struct FunctionHandle {
    code: Code,
    timeout: Duration,
    invoker: Invoker,
    /// The holder of the right to make the head of a stream.
    heads: Arc<Semaphore>,
}

/// The number of streams that begin side by side in this process. Of many that are opened at once, all would wait for one another, and the
/// first begin no sooner.
const HEADS_AT_ONCE: usize = 8;

#[derive(Clone)]
enum Code {
    Library(Lambda),
    Processes(Arc<Pool>, Kind),
}

/// The limits of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Requests {
        /// `true` if its responses reach the client as they are made.
        streamed: bool,
    },
    QueueMessages,
    Events,
}

/// The reason why an invocation gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Library(#[from] invocation::Failure),
    #[error(transparent)]
    Process(#[from] BootstrapError),
    #[error("it failed: {0}")]
    Function(runtime::Error),
    #[error("its response broke off")]
    BrokenOff,
    #[error("its response is larger than Lambda takes")]
    ResponseTooLarge,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("it is not what the event is for")]
    WrongKind,
    #[error("the gateway does not wait any longer")]
    GatewayTimedOut,
    #[error("all {0} processes that it may have are busy")]
    Throttled(usize),
    #[error("the platform ends")]
    Ending,
}

impl FunctionHandle {
    pub(crate) fn library(lambda: Lambda, timeout: Duration, invoker: Invoker) -> Self {
        Self {
            code: Code::Library(lambda),
            timeout,
            invoker,
            heads: Arc::new(Semaphore::new(HEADS_AT_ONCE)),
        }
    }

    /// `kind` is what the template makes of the function: a binary does not tell it.
    pub(crate) fn processes(pool: Arc<Pool>, kind: Kind, invoker: Invoker) -> Self {
        Self {
            timeout: pool.timeout(),
            code: Code::Processes(pool, kind),
            invoker,
            heads: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.code {
            Code::Library(Lambda::Http(_)) => Kind::Requests { streamed: false },
            Code::Library(Lambda::Stream(_)) => Kind::Requests { streamed: true },
            Code::Library(Lambda::Queue(_)) => Kind::QueueMessages,
            Code::Library(Lambda::Event(_)) => Kind::Events,
            Code::Processes(_, kind) => *kind,
        }
    }

    /// The time that an invocation may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Has the function handle a batch of queue messages.
    pub(crate) async fn handle_messages(
        &self,
        event: SqsEvent,
    ) -> Result<SqsBatchResponse, Failure> {
        match &self.code {
            Code::Library(Lambda::Queue(handler)) => {
                let (handler, invocation) =
                    (handler.clone(), self.invoker.invocation(self.timeout));
                let work = async move { handler(event, invocation).await };
                Ok(self.invoker.run(self.timeout, work).await?)
            }
            Code::Library(_) => Err(Failure::WrongKind),
            Code::Processes(pool, _) => {
                // Nothing said of any message, in whatever way, means that all went well.
                let response: Option<SqsBatchResponse> = json_result(pool, &event).await?;
                Ok(response.unwrap_or_default())
            }
        }
    }

    /// Has the function handle any other event.
    pub(crate) async fn handle_event(&self, event: Value) -> Result<Value, Failure> {
        match &self.code {
            Code::Library(Lambda::Event(handler)) => {
                let (handler, invocation) =
                    (handler.clone(), self.invoker.invocation(self.timeout));
                let work = async move { handler(event, invocation).await };
                let handled = self.invoker.run(self.timeout, work).await?;
                handled.map_err(Failure::Function)
            }
            Code::Library(_) => Err(Failure::WrongKind),
            Code::Processes(pool, _) => json_result(pool, &event).await,
        }
    }
}

/// Invokes a function for its result as a whole. Its caller can wait for a process.
async fn json_result<T: DeserializeOwned>(
    pool: &Arc<Pool>,
    event: &impl Serialize,
) -> Result<T, Failure> {
    let event = serde_json::to_vec(event).map_err(BootstrapError::Unreadable)?;
    let answer = pool.invoke(Bytes::from(event), QueueWait::Endless).await?;
    let whole = answer.collect().await?;
    Ok(serde_json::from_slice(&whole).map_err(BootstrapError::Unreadable)?)
}
