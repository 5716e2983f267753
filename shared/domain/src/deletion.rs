//! Deletions under way: an agent, a workspace or an organization that cannot be used any more, and whose rows a job removes.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, OrganizationId, WorkspaceId};

/// The time that after a deletion a request or a worker may still write that was admitted before it: a worker runs for two minutes at
/// most, a request for half a minute. Rows are removed after that, so the job misses none.
pub const QUIET_PERIOD: TimeDelta = TimeDelta::minutes(3);

/// The thing that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DeletionTarget {
    /// The agent's row is gone. Its runs are stopped and stay readable by id, as do its versions.
    Agent {
        organization_id: OrganizationId,
        workspace_id: WorkspaceId,
        agent_id: AgentId,
    },
    /// The workspace's row is gone. Everything in the workspace is removed.
    Workspace {
        organization_id: OrganizationId,
        workspace_id: WorkspaceId,
    },
    /// The organization's row is gone. Its workspaces are deleted one by one, and what belongs to the organization itself is
    /// removed.
    Organization { organization_id: OrganizationId },
}

impl DeletionTarget {
    /// The `error` of a run that the deletion has stopped.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Agent { .. } => "stopped because its agent was deleted",
            Self::Workspace { .. } | Self::Organization { .. } => {
                "stopped because its workspace was deleted"
            }
        }
    }
}

/// A deletion and how far it has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deletion {
    pub target: DeletionTarget,
    pub requested_at: DateTime<Utc>,
    /// The time when the job looks at it next. Claiming a deletion moves this on, so that a killed job's deletion is taken up again.
    pub due_at: DateTime<Utc>,
    /// `true` if keys, members, schedules and runs have ended. It is kept for the job, which ends them where a request could not.
    pub ended: bool,
    /// Counts writes of this row; a write names the one that it has seen.
    #[serde(skip)]
    pub revision: u64,
}

impl Deletion {
    /// A deletion that has just been requested. The job may begin at once.
    pub fn new(target: DeletionTarget, now: DateTime<Utc>) -> Self {
        Self {
            target,
            requested_at: now,
            due_at: now,
            ended: false,
            revision: 0,
        }
    }

    /// From when on rows may be removed.
    pub fn removal_from(&self) -> DateTime<Utc> {
        self.requested_at + QUIET_PERIOD
    }
}
