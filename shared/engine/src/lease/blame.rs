//! `true` if a lease that ran out counts against its run.
//!
//! When a worker dies, all runs that it works on lose their leases, and one of them may be the cause. That counts against none of
//! them: each goes on alone, in a process that works on nothing else. A lease that is lost there counts, and three of them end the
//! run.
//!
//! On one machine all workers are one process, and what ends it ends the platform. Leases from before its start are therefore
//! counted apart: an operator may stop a platform often, but a run that ends it at every start shall not be taken on for ever.

use chrono::{DateTime, Utc};
use domain::run::Run;

use crate::run_head::is_abandoned;

/// So many leases that run out at the same step while their worker works on nothing else are the run's own fault.
pub(crate) const MAX_LOST_LEASES: u8 = 3;

/// So many ends of the whole platform at the same step are the run's own fault.
pub(crate) const MAX_ABANDONED: u8 = 10;

/// The terms on which a lease is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blame {
    /// Leases that count against the run.
    pub(crate) lost_leases: u8,
    /// Leases of workers that ended with the platform.
    pub(crate) abandoned_leases: u8,
    /// The worker works on nothing else.
    pub(crate) alone: bool,
}

impl Blame {
    /// For a worker that takes `run` now. Leases from before `abandoned_before` ended with the platform.
    pub(crate) fn of(run: &Run, abandoned_before: Option<DateTime<Utc>>, alone: bool) -> Self {
        let (mut lost, mut abandoned) = (false, false);
        if let Some(lease) = &run.lease {
            abandoned = is_abandoned(lease, abandoned_before);
            lost = lease.alone && !abandoned;
        }
        Self {
            lost_leases: run.lost_leases.saturating_add(lost.into()),
            abandoned_leases: run.abandoned_leases.saturating_add(abandoned.into()),
            alone,
        }
    }

    /// Returns `true` if the run is to be ended instead.
    pub(crate) fn is_enough(&self) -> bool {
        self.lost_leases >= MAX_LOST_LEASES || self.abandoned_leases >= MAX_ABANDONED
    }
}

/// Returns `true` if the next worker of a run shall work on nothing else: the run has lost a lease at its present step, or loses the one it
/// has. Leases from before `abandoned_before` ended with the platform, and say nothing about a process.
pub fn goes_alone(run: &Run, abandoned_before: Option<DateTime<Utc>>) -> bool {
    let lease = run.lease.as_ref();
    run.lost_leases > 0 || lease.is_some_and(|lease| !is_abandoned(lease, abandoned_before))
}
