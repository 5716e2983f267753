//! What goes over a queue: a tagged, versioned value with identifiers only. Whoever receives it loads the state afresh.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{RunId, WorkspaceId};

/// Work on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum RunMessage {
    /// Take the run as far as it goes.
    #[serde(rename = "run.advance.v1")]
    Advance {
        workspace_id: WorkspaceId,
        run_id: RunId,
        /// Leases taken before this moment belong to workers that are known to be gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        abandoned_before: Option<DateTime<Utc>>,
    },
}
