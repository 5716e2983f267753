//! The statuses of a dialect, which may stand for several of ours.

use domain::run::RunStatus;

/// The statuses that are `status` in a dialect, for a filter.
pub(crate) fn statuses_shown_as<S: From<RunStatus> + PartialEq>(status: S) -> Vec<RunStatus> {
    let all = RunStatus::ALL.into_iter();
    all.filter(|of| S::from(*of) == status).collect()
}
