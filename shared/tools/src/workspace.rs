//! The workspace that a run belongs to, as its tools see it.

use futures::future::BoxFuture;
use serde_json::Value;

use crate::calling_run::CallingRun;
use crate::tool::ToolError;

/// The agents and runs of workspaces. Implemented where they are stored; a tool acts in the workspace of its run only.
pub trait Workspace: Send + Sync {
    /// Starts a run of another agent, once however often it is called under the same key; answers with how that run stands.
    fn trigger<'a>(&'a self, call: AgentCall<'a>) -> BoxFuture<'a, Result<Value, ToolError>>;

    /// The outcomes of the other agents' runs of the last `hours`.
    fn activity<'a>(
        &'a self,
        by: &'a CallingRun,
        hours: u32,
    ) -> BoxFuture<'a, Result<Value, ToolError>>;
}

/// A run that another run wants.
#[derive(Clone, Debug)]
pub struct AgentCall<'a> {
    pub by: &'a CallingRun,
    /// An id, or the exact name.
    pub agent: &'a str,
    /// The ids of the agents that may be started, or `*` for any of the workspace.
    pub allowed: &'a [String],
    pub input: Value,
    /// `true` to wait a while for the result.
    pub wait: bool,
    /// The same for every attempt at this call, and for no other call.
    pub key: &'a str,
}
