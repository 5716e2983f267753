//! Whether a lease that ran out counts against its run.
//!
//! When a worker dies, all runs that it works on lose their leases, and one of them may be the cause. That counts against none of
//! them: each goes on alone, in a process that works on nothing else. A lease that is lost there counts, and three of them end the
//! run.

use chrono::{DateTime, Utc};
use domain::run::Run;

use super::is_abandoned;

/// So many leases that run out at the same step while their worker works on nothing else are the run's own fault.
pub(crate) const MAX_LOST_LEASES: u8 = 3;

/// How a lease is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blame {
    /// Leases that count against the run.
    pub(crate) lost_leases: u8,
    /// The worker works on nothing else.
    pub(crate) alone: bool,
}

impl Blame {
    /// For a worker that takes `run` now. Leases from before `abandoned_before` are no run's fault.
    pub(crate) fn of(run: &Run, abandoned_before: Option<DateTime<Utc>>, alone: bool) -> Self {
        let lost = run
            .lease
            .filter(|lease| lease.alone && !is_abandoned(lease, abandoned_before));
        Self {
            lost_leases: run.lost_leases.saturating_add(u8::from(lost.is_some())),
            alone,
        }
    }
}

/// Whether the next worker of a run shall work on nothing else: the run has lost a lease at its present step, or loses the one it
/// has. Leases from before `abandoned_before` are of workers that are known to be gone, and say nothing about a
/// run.
pub fn goes_alone(run: &Run, abandoned_before: Option<DateTime<Utc>>) -> bool {
    let lease = run.lease.as_ref();
    run.lost_leases > 0 || lease.is_some_and(|lease| !is_abandoned(lease, abandoned_before))
}
