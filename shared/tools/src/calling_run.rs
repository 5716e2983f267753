//! The run that calls a tool.

use chrono::{DateTime, Utc};
use domain::ids::{AgentId, OrganizationId, RunId, WorkspaceId};
use domain::run::{Lineage, Run};

/// The run that calls a tool.
#[derive(Clone, Debug)]
pub struct CallingRun {
    pub id: RunId,
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    pub agent_id: AgentId,
    /// The moment at which a worker took it first: the same in every attempt at a call.
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
