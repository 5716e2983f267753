//! The item of a place: how it is read, and the expressions that change it.

use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::{RunId, WorkspaceId};
use domain::run::Run;
use domain::{Error, Result};

use crate::attributes::{AWAITED, EXPIRES, HELD_UNTIL, HOLDER, LENDERS, TAKEN, WORKSPACE};
use crate::item::{Item, number, text};
use crate::keys::PARTITION;
use crate::transaction::Condition;

/// The time that a place that has ended is kept, and a run in the list: a sweep puts one that still waits into the list again.
pub(super) const KEPT: TimeDelta = TimeDelta::hours(1);

/// A run, as places and the list of those that wait know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub workspace_id: WorkspaceId,
    pub run_id: RunId,
}

impl Waiting {
    pub fn of(run: &Run) -> Self {
        Self {
            workspace_id: run.workspace_id,
            run_id: run.id,
        }
    }
}

/// A place as it stands. [`RunPlace::is_held`] says whether it is still held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPlace {
    pub number: u16,
    /// The run that has it, or had it.
    pub holder: Waiting,
    pub until: DateTime<Utc>,
    /// A worker has the run; else the place is only kept for it.
    pub is_taken: bool,
    /// Runs that wait for the holder and have lent it the place, each to the next.
    pub lenders: Vec<Waiting>,
    /// Runs wait for a place, and the worker that leaves this one has to look for them.
    pub is_awaited: bool,
}

impl RunPlace {
    pub fn is_held(&self, now: DateTime<Utc>) -> bool {
        self.until > now
    }
}

/// The place that a run wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedPlace {
    pub number: u16,
    /// It is the run's already, or kept for it; else it must be free.
    pub is_own: bool,
}

/// The condition on which a place is taken, and the update that takes it.
pub(super) fn taking(
    wanted: WantedPlace,
    holder: &Waiting,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> (Condition, String) {
    let (condition, expression) = if wanted.is_own {
        (
            Condition::that(format!("{HOLDER} = :holder")),
            format!(
                "SET {TAKEN} = :one, {HOLDER} = :holder, {WORKSPACE} = :workspace, {HELD_UNTIL} = :until, {EXPIRES} = :expires"
            ),
        )
    } else {
        (
            free(now),
            format!(
                "SET {TAKEN} = :one, {HOLDER} = :holder, {WORKSPACE} = :workspace, {HELD_UNTIL} = :until, {EXPIRES} = :expires REMOVE {LENDERS}"
            ),
        )
    };
    (
        named(condition, holder, until).number(":one", 1),
        expression,
    )
}

pub(super) fn free(now: DateTime<Utc>) -> Condition {
    Condition::that(format!(
        "attribute_not_exists({PARTITION}) OR {HELD_UNTIL} < :now"
    ))
    .number(":now", now.timestamp_millis())
}

pub(super) fn named(condition: Condition, holder: &Waiting, until: DateTime<Utc>) -> Condition {
    condition
        .text(":holder", &holder.run_id.to_string())
        .text(":workspace", &holder.workspace_id.to_string())
        .number(":until", until.timestamp_millis())
        .number(":expires", (until + KEPT).timestamp())
}

pub(super) fn place(number_of_it: u16, item: &Item) -> Result<RunPlace> {
    let lenders = text(item, LENDERS).unwrap_or_default();
    let lender = |text: &str| {
        let (workspace, run) = text.split_once('/').unwrap_or_default();
        Ok(Waiting {
            workspace_id: parsed(Some(workspace))?,
            run_id: parsed(Some(run))?,
        })
    };
    Ok(RunPlace {
        number: number_of_it,
        holder: Waiting {
            workspace_id: parsed(text(item, WORKSPACE))?,
            run_id: parsed(text(item, HOLDER))?,
        },
        until: DateTime::from_timestamp_millis(number(item, HELD_UNTIL)).unwrap_or_default(),
        is_taken: number(item, TAKEN) > 0,
        lenders: lenders
            .split_whitespace()
            .map(lender)
            .collect::<Result<_>>()?,
        is_awaited: number(item, AWAITED) > 0,
    })
}

pub(super) fn parsed<T: std::str::FromStr<Err: Into<domain::error::BoxError>>>(
    text: Option<&str>,
) -> Result<T> {
    text.unwrap_or_default().parse().map_err(Error::internal)
}
