//! The tool trait, with the input and the errors of a call.

use futures::future::BoxFuture;
use llm::ToolSpec;
use outbound::OutboundError;
use serde_json::Value;

use crate::calling_run::CallingRun;

/// Something that an agent can call.
pub trait Tool: Send + Sync {
    /// Name, description and input schema, as a model is told of them.
    fn spec(&self) -> &ToolSpec;

    /// Tells whether a call may be repeated, under the same idempotency key, when its outcome is unknown.
    fn is_idempotent(&self, _arguments: &Value) -> bool {
        self.spec().idempotent
    }

    /// The effect of a call on other runs. The engine bounds how many runs a run starts.
    fn delegation(&self, _arguments: &Value) -> Delegation {
        Delegation::None
    }

    /// Makes one call, whose arguments fit the input schema.
    fn call<'a>(&'a self, call: &'a ToolInvocation<'a>) -> BoxFuture<'a, Result<Value, ToolError>>;
}

/// The effect of a call on other runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delegation {
    None,
    /// It starts a run and does not wait for it.
    Starts,
    /// It starts a run and waits for it, which meanwhile may be lent the place of the calling run.
    Waits,
}

/// One call, with what the caller is allowed.
#[derive(Clone, Copy, Debug)]
pub struct ToolInvocation<'a> {
    pub tool: &'a str,
    pub arguments: &'a Value,
    pub permissions: &'a ToolPermissions,
    /// The run that calls; `None` for other callers.
    pub run: Option<&'a CallingRun>,
    /// The same for every attempt at this call, and for no other call.
    pub idempotency_key: &'a str,
}

/// The rights of a caller of tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolPermissions {
    /// The names of the tools that may be called.
    pub tools: Vec<String>,
    /// The hosts that `http_request` may reach: `example.com`, `example.com:8443`, `*.example.com`.
    pub hosts: Vec<String>,
    /// The ids of the agents that `trigger_agent` may start; `*` for any of the workspace.
    pub agents: Vec<String>,
}

/// The reason why a call has no result. The texts are for the model and for people: they carry no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The arguments do not fit the tool's schema; nothing was called.
    #[error("{0}")]
    InvalidArguments(String),
    /// The tool does not exist, or the caller may not do this; nothing was called.
    #[error("{0}")]
    NotAllowed(String),
    /// It was tried and will not work.
    #[error("{0}")]
    Failed(String),
    /// The other side was not reached: nothing has happened there. A later attempt may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The request was sent, and the answer did not come, or not whole: it may have taken effect. A later attempt may succeed;
    /// [`Tool::is_idempotent`] says whether one is safe.
    #[error("{0}")]
    Unanswered(String),
    /// The request was sent and answered, and the answer cannot be used. It may have taken effect.
    #[error("{0}")]
    Unusable(String),
}

impl From<OutboundError> for ToolError {
    fn from(error: OutboundError) -> Self {
        let text = error.to_string();
        match error {
            OutboundError::Refused(_) => Self::NotAllowed(text),
            OutboundError::TooLarge(_) => Self::Unusable(text),
            error if error.sent() => Self::Unanswered(text),
            _ => Self::Unavailable(text),
        }
    }
}
