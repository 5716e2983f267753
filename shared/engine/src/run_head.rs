//! Predicates on the head of a run, and the events that are appended to the journal behind it.

use chrono::{DateTime, TimeDelta, Utc};
use domain::Error;
use domain::run::{Lease, Run, RunStatus, Step, StepEvent};

/// The time that after a lease's end the sweep looks: a worker that is late by this much is not disturbed.
pub(crate) const SLACK: TimeDelta = TimeDelta::seconds(2);
/// The time after which the sweep looks after a run that no worker has taken.
pub(crate) const SWEEP_AFTER: TimeDelta = TimeDelta::seconds(30);

/// Appends events to a run's journal: gives them their places and moves the head on.
pub(crate) fn append_events(run: &mut Run, events: &[StepEvent], now: DateTime<Utc>) -> Vec<Step> {
    let steps: Vec<Step> = (run.steps..)
        .zip(events)
        .map(|(index, event)| Step {
            index,
            at: now,
            event: event.clone(),
        })
        .collect();
    if let Some(last) = steps.last() {
        run.steps = last.index + 1;
        run.lost_leases = 0;
        run.abandoned_leases = 0;
        run.showing = None;
    }
    steps
}

/// The time when a message takes a run on: once the lease has run out that stands in its head, or else when it is due. The due index may
/// tell an earlier time, since no renewal is written there.
pub fn wake_at(run: &Run) -> Option<DateTime<Utc>> {
    let due = run.due_at?;
    Some(run.lease.map_or(due, |lease| lease.until + SLACK))
}

/// Returns `true` if a worker holds the run at `now`. Leases from before `abandoned_before` are of workers that are known to be gone.
pub(crate) fn is_held(
    run: &Run,
    now: DateTime<Utc>,
    abandoned_before: Option<DateTime<Utc>>,
) -> bool {
    run.lease
        .is_some_and(|lease| lease.until > now && !is_abandoned(&lease, abandoned_before))
}

pub(crate) fn is_abandoned(lease: &Lease, abandoned_before: Option<DateTime<Utc>>) -> bool {
    abandoned_before.is_some_and(|moment| lease.acquired_at < moment)
}

/// Returns `true` if another writer of the run was first, which is not a fault.
pub(crate) fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Conflict(_))
}

/// Returns `true` if nothing has happened since `known` but that its worker renewed the lease, or the sweep looked after it.
pub(crate) fn is_as(stored: &Run, known: &Run) -> bool {
    let holder = |run: &Run| run.lease.map(|lease| lease.holder);
    let is_open = matches!(
        stored.status,
        RunStatus::Queued | RunStatus::Running | RunStatus::Paused
    );
    is_open
        && stored.version > known.version
        && (stored.status, stored.steps) == (known.status, known.steps)
        && holder(stored) == holder(known)
}

/// The answer to something that is not done to a run in its state.
pub(crate) fn in_state(run: &Run, what: &str) -> Error {
    Error::Refused(format!(
        "an execution that is {} cannot {what}",
        run.status.as_str()
    ))
}
