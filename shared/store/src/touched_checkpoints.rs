//! The memory of an instance: checkpoints that it need not write again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use domain::ids::WorkspaceId;

/// The number of workspaces whose checkpoints an instance remembers.
const REMEMBERED: usize = 10_000;

/// The workspaces whose checkpoint this instance has written in the present minute.
#[derive(Clone, Default)]
pub(crate) struct TouchedCheckpoints(Arc<Mutex<HashMap<WorkspaceId, i64>>>);

impl TouchedCheckpoints {
    /// Returns `true` if the checkpoint is still to be written in the minute of `now`.
    pub(crate) fn claim(&self, workspace: WorkspaceId, now: DateTime<Utc>) -> bool {
        let minute = now.timestamp().div_euclid(60);
        let mut touched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if touched.len() >= REMEMBERED {
            touched.retain(|_, last| *last == minute);
        }
        touched.insert(workspace, minute) != Some(minute)
    }

    pub(crate) fn forget(&self, workspace: WorkspaceId) {
        let mut touched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        touched.remove(&workspace);
    }
}
