//! Runs whose retention is over: `RunRetentionDays` after their end they are removed with journal, messages and large values.
//!
//! Every run that has ended is in the due index by its end, so the number of days can be changed at any time and applies to all
//! runs at once. DynamoDB's own expiry would have to be written to each row of a run when it ends, at the price of deleting the
//! rows here, and would not reach the values in S3, whose lifecycle rules count from an object's creation.

use std::collections::HashSet;

use chrono::TimeDelta;
use domain::Result;
use futures::StreamExt;
use runtime::Clock;
use store::Store;
use tokio::time::Instant;

/// The number of runs of each partition of the index that are read at once.
const LIMIT: i32 = 50;
/// The number of runs that are removed at a time.
const CONCURRENCY: usize = 16;

pub(crate) struct Retention {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// 0 keeps all runs.
    pub(crate) days: u32,
}

impl Retention {
    /// Removes runs until the time is over or none is left that is old enough; how many were removed.
    pub(crate) async fn run(&self, until: Instant) -> Result<usize> {
        if self.days == 0 {
            return Ok(0);
        }
        let before = self.clock.now() - TimeDelta::days(self.days.into());
        let (mut seen, mut removed) = (HashSet::new(), 0);
        while Instant::now() < until {
            let mut ended = self.store.ended_runs(before, LIMIT).await?;
            // The index may still show what was removed a moment ago.
            ended.retain(|run| seen.insert(*run));
            if ended.is_empty() {
                break;
            }
            let removals: Vec<_> = ended
                .into_iter()
                .map(|(workspace, run)| async move {
                    let removal = self.store.remove_run(workspace, run, until).await;
                    removal.unwrap_or_else(|error| {
                        let source = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(run.id = %run, %error, source, metric = "deletion_failed", "a run past its retention was not removed");
                        false
                    })
                })
                .collect();
            let mut removals = futures::stream::iter(removals).buffer_unordered(CONCURRENCY);
            while let Some(is_removed) = removals.next().await {
                removed += usize::from(is_removed);
            }
        }
        Ok(removed)
    }
}
