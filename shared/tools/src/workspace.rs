//! The workspace that a run belongs to, as its tools see it.

use chrono::{DateTime, Utc};
use domain::ids::{AgentId, OrganizationId, RunId, WorkspaceId};
use domain::run::{Lineage, Run};
use futures::future::BoxFuture;
use serde_json::Value;

use crate::tool::ToolError;

/// The agents and runs of workspaces. Implemented where they are stored; a tool acts in the workspace of its run only.
pub trait Workspace: Send + Sync {
    /// Starts a run of another agent, once however often it is called under the same key; answers with how that run stands.
    fn trigger<'a>(&'a self, call: AgentCall<'a>) -> BoxFuture<'a, Result<Value, ToolError>>;

    /// What the other agents' runs of the last `hours` have come to.
    fn activity<'a>(
        &'a self,
        by: &'a CallingRun,
        hours: u32,
    ) -> BoxFuture<'a, Result<Value, ToolError>>;
}

/// The run that calls a tool.
#[derive(Clone, Debug)]
pub struct CallingRun {
    pub id: RunId,
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    pub agent_id: AgentId,
    /// When a worker took it first: the same in every attempt at a call.
    pub started_at: DateTime<Utc>,
    pub lineage: Option<Lineage>,
}

impl CallingRun {
    pub fn of(run: &Run) -> Self {
        Self {
            id: run.id,
            organization_id: run.organization_id,
            workspace_id: run.workspace_id,
            agent_id: run.agent_id,
            started_at: run.started_at.unwrap_or(run.created_at),
            lineage: run.lineage.clone(),
        }
    }
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
    /// Whether to wait a while for the result.
    pub wait: bool,
    /// The same for every attempt at this call, and for no other call.
    pub key: &'a str,
}
