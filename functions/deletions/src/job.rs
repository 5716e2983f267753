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

/// The time that one deletion is worked on before others have their turn.
const SLICE: Duration = Duration::from_secs(10);
/// The time that a claim holds. A job that was killed in the middle of a slice is made up for after it, as is one that failed.
const CLAIM: TimeDelta = TimeDelta::seconds(60);
/// The number of deletions that are worked on at a time.
const CONCURRENCY: usize = 4;
/// The number of due deletions of each partition of the index that are read at once.
const LIMIT: i32 = 16;

/// The outcome of a deletion's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slice {
    Completed,
    Worked,
    /// Another job has it, or its row could not be written.
    Nothing,
}

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
            let mut has_worked = false;
            while let Some(slice) = slices.next().await {
                completed += usize::from(slice == Slice::Completed);
                has_worked |= slice != Slice::Nothing;
            }
            if !has_worked {
                // Their rows cannot be written now. The next invocation tries again.
                break;
            }
        }
        Ok(completed)
    }

    /// Works on a deletion for a while, unless another job does.
    async fn slice(&self, deletion: Deletion, until: Instant) -> Slice {
        let target = deletion.target;
        let until = until.min(Instant::now() + SLICE);
        let claimed = Deletion {
            due_at: self.clock.now() + CLAIM,
            ..deletion
        };
        let claimed = match self.store.update_deletion(claimed).await {
            Ok(claimed) => claimed,
            // Another job was faster.
            Err(Error::Conflict(_)) => return Slice::Nothing,
            Err(error) => {
                log_failure(target, &error);
                return Slice::Nothing;
            }
        };
        match self.try_slice(claimed, until).await {
            Ok(slice) => slice,
            Err(Error::Conflict(_)) => Slice::Worked,
            Err(error) => {
                log_failure(target, &error);
                Slice::Worked
            }
        }
    }

    async fn try_slice(&self, claimed: Deletion, until: Instant) -> Result<Slice> {
        let has_ended = self.endings.end(claimed.target, None, until).await?;
        let now = self.clock.now();
        // At once if only the time was over; where something else is in the way, like something that failed.
        let soon = if Instant::now() >= until {
            now
        } else {
            now + CLAIM
        };
        let due_at = if now < claimed.removal_from() {
            // Ended once more then: what was admitted before the deletion may have made more meanwhile.
            if has_ended {
                claimed.removal_from()
            } else {
                soon
            }
        } else if self.remove(&claimed, has_ended, until).await? {
            self.store.complete_deletion(&claimed).await?;
            tracing::info!(target = ?claimed.target, "a deletion is complete");
            return Ok(Slice::Completed);
        } else if has_ended {
            now
        } else {
            soon
        };
        let next = Deletion { due_at, ..claimed };
        self.store.update_deletion(next).await?;
        Ok(Slice::Worked)
    }

    /// Returns `true` if nothing is left.
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

fn log_failure(target: DeletionTarget, error: &Error) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(?target, %error, source, metric = "deletion_failed", "a deletion failed and is tried again");
}
