//! Counting requests by the request log, once a minute.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Error, Result};
use futures::StreamExt;
use runtime::Clock;
use store::{RequestCheckpoint, Store};

/// The number of workspaces whose requests are counted side by side.
const CONCURRENCY: usize = 8;
/// The time that one transaction may take with the reads before it.
const BATCH_TIME: TimeDelta = TimeDelta::seconds(10);

/// Counts the requests of all workspaces, as far as the time goes; how many. A failure for one workspace is logged and stops no other.
///
/// # Errors
/// `Unavailable` when the checkpoints cannot be read.
pub(crate) async fn count_requests(
    store: &Store,
    clock: &Clock,
    deadline: DateTime<Utc>,
    settled_before: Option<DateTime<Utc>>,
) -> Result<usize> {
    let has_time = || deadline - clock.now() > BATCH_TIME;
    let checkpoints = store.request_checkpoints().await?;
    let counts = checkpoints.into_iter().map(async |checkpoint| {
        let workspace = checkpoint.workspace_id;
        let counted = count_workspace(store, clock, checkpoint, settled_before, has_time).await;
        counted.unwrap_or_else(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(workspace.id = %workspace, %error, source, "requests not counted");
            0
        })
    });
    let counts = futures::stream::iter(counts).buffer_unordered(CONCURRENCY);
    Ok(counts.fold(0, async |sum, count| sum + count).await)
}

async fn count_workspace(
    store: &Store,
    clock: &Clock,
    checkpoint: RequestCheckpoint,
    settled_before: Option<DateTime<Utc>>,
    has_time: impl Fn() -> bool,
) -> Result<usize> {
    let workspace = store.workspace(checkpoint.organization_id, checkpoint.workspace_id);
    if workspace.await?.is_none() {
        // It was deleted, and its counts with it.
        store.forget_checkpoint(&checkpoint).await?;
        return Ok(0);
    }
    let mut next = Some(checkpoint);
    let mut all = 0;
    while let Some(from) = next.filter(|_| has_time()) {
        let counted = store.count_requests(&from, clock.now(), settled_before);
        let counted = match counted.await {
            // Another tick has counted them.
            Err(Error::Conflict(_)) => break,
            counted => counted?,
        };
        next = counted.0;
        all += counted.1;
    }
    Ok(all)
}
