//! Messages of queues: a tagged, versioned value with identifiers only. Its receiver loads the state afresh.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{OrganizationId, RunId, WorkspaceId};
use crate::run::Run;

/// Work on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum RunMessage {
    #[serde(rename = "run.advance.v1")]
    Advance(Advance),
}

/// Take a run as far as it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advance {
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    pub run_id: RunId,
    /// Leases taken before this moment belong to workers that are known to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned_before: Option<DateTime<Utc>>,
    /// `true` if the run goes on in a process that works on nothing else meanwhile: the run may be what ends its worker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// The number of times in a row that a worker could not go on because something it needs was not available.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// The number of the place among its organization's that is kept for the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u16>,
}

impl Advance {
    /// The first message of a run.
    pub fn of(run: &Run) -> Self {
        Self {
            organization_id: run.organization_id,
            workspace_id: run.workspace_id,
            run_id: run.id,
            abandoned_before: None,
            alone: false,
            attempt: 0,
            place: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
