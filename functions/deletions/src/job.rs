//! Deletions under way. Each is claimed, worked on for a slice of time, and given back, so that a huge one delays no other.
//!
//! A deletion's keys, members and runs are ended first, where its request could not. Once the quiet period is over,
//! nothing that was admitted before the deletion writes any more, and what is left is removed. The row of the deletion goes last.

use std::time::Duration;

use chrono::TimeDelta;
use domain::deletion::{Deletion, DeletionTarget};
use domain::{Error, Result};
use engine::Endings;
use futures::StreamExt;
use runtime::Clock;
use store::Store;
use tokio::time::Instant;

/// How long one deletion is worked on before others have their turn.
const SLICE: Duration = Duration::from_secs(10);
/// How long a claim holds. A job that was killed in the middle of a slice is made up for after it, as is one that failed.
const CLAIM: TimeDelta = TimeDelta::seconds(60);
/// How many deletions are worked on at a time.
const CONCURRENCY: usize = 4;
/// How many due deletions of each partition of the index are read at once.
const LIMIT: i32 = 16;

pub(crate) struct Job {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) endings: Endings,
}

impl Job {
    /// Works on what is due until the time is over or nothing is left; how many deletions were completed.
    pub(crate) async fn run(&self, until: Instant) -> Result<usize> {
        let mut completed = 0;
        while Instant::now() < until {
            let due = self.store.due_deletions(self.clock.now(), LIMIT).await?;
            if due.is_empty() {
                break;
            }
            let slices: Vec<_> = due
                .into_iter()
                .map(|deletion| self.slice(deletion, until))
                .collect();
            let mut slices = futures::stream::iter(slices).buffer_unordered(CONCURRENCY);
            while let Some(is_completed) = slices.next().await {
                completed += usize::from(is_completed);
            }
        }
        Ok(completed)
    }

    /// Works on a deletion for a while, unless another job does; whether it is complete.
    async fn slice(&self, deletion: Deletion, until: Instant) -> bool {
        let target = deletion.target;
        let until = until.min(Instant::now() + SLICE);
        match self.try_slice(deletion, until).await {
            Ok(is_completed) => is_completed,
            // Another job was faster.
            Err(Error::Conflict(_)) => false,
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(?target, %error, source, metric = "deletion_failed", "a deletion failed and is tried again");
                false
            }
        }
    }

    async fn try_slice(&self, deletion: Deletion, until: Instant) -> Result<bool> {
        let claimed = Deletion {
            due_at: self.clock.now() + CLAIM,
            ..deletion
        };
        let claimed = self.store.update_deletion(claimed).await?;
        let has_ended = self.endings.end(claimed.target, None, until).await?;
        let now = self.clock.now();
        let due_at = if now < claimed.removal_from() {
            // Ended once more then: what was admitted before the deletion may have made more meanwhile.
            if has_ended {
                claimed.removal_from()
            } else {
                now
            }
        } else if self.remove(&claimed, has_ended, until).await? {
            self.store.complete_deletion(&claimed).await?;
            tracing::info!(target = ?claimed.target, "a deletion is complete");
            return Ok(true);
        } else {
            now
        };
        let next = Deletion { due_at, ..claimed };
        self.store.update_deletion(next).await?;
        Ok(false)
    }

    /// Whether nothing is left.
    async fn remove(&self, deletion: &Deletion, has_ended: bool, until: Instant) -> Result<bool> {
        let now = self.clock.now();
        match deletion.target {
            DeletionTarget::Agent { .. } => Ok(has_ended),
            DeletionTarget::Workspace {
                organization_id,
                workspace_id,
            } => {
                self.store
                    .remove_workspace(organization_id, workspace_id, now, until)
                    .await
            }
            DeletionTarget::Organization { organization_id } => {
                let removed = self.store.remove_organization(organization_id, now, until);
                removed.await
            }
        }
    }
}
