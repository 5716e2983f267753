//! The entry of a run in its agent's status, which says that the agent is at work.
//!
//! A run that ends soon is never entered: two writes would be for a moment that few see, and all runs of an agent meet in its status.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::run::Run;
use store::Store;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

/// The time that a worker has a run before it enters it.
const ENTERED_AFTER: Duration = Duration::from_millis(300);
/// The interval at which a run is entered anew: an entry lasts for longer, beyond the lease.
const ENTERED_EVERY: Duration = Duration::from_secs(120);

pub(super) struct StatusEntry {
    /// The time when the run is to be entered, for the first time or anew.
    pub(super) due: Instant,
    /// There is an entry, or may be one.
    may_exist: bool,
    /// The write of it, which goes on beside the run's work: dropped with that, it might come after the one that takes the entry away.
    writing: JoinSet<()>,
}

impl StatusEntry {
    /// For a run that a worker has `since` then. A worker of before may have entered it.
    pub(super) fn new(run: &Run, since: Instant) -> Self {
        Self {
            due: since + ENTERED_AFTER,
            may_exist: run.started_at.is_some(),
            writing: JoinSet::new(),
        }
    }

    /// Enters the run, whose lease holds until then.
    pub(super) fn write(&mut self, store: &Store, run: &Run, lease_until: DateTime<Utc>) {
        self.due = Instant::now() + ENTERED_EVERY;
        self.may_exist = true;
        let (store, run) = (store.clone(), run.clone());
        let write = async move { store.enter_running(&run, lease_until).await };
        self.writing.spawn(write.in_current_span());
    }

    /// Returns `true` if there may be an entry to take away, once the write that is under way has been done, or was waited for.
    pub(super) async fn settled(&mut self, within: Duration) -> bool {
        let written = async { while self.writing.join_next().await.is_some() {} };
        if tokio::time::timeout(within, written).await.is_err() {
            // It may leave an entry behind, which ends by itself.
            self.writing.abort_all();
        }
        self.may_exist
    }

    pub(super) fn may_exist(&self) -> bool {
        self.may_exist
    }
}
