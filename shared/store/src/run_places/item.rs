//! The item of a place: how it is read, and the expressions that change it.

use chrono::{DateTime, Utc};
use domain::{Error, Result};

use super::{KEPT, RunPlace, Waiting, WantedPlace};
use crate::item::{Item, number, text};
use crate::keys::PARTITION;
use crate::transaction::Condition;

/// What must hold for a place to be taken, and how it is.
pub(super) fn taking(
    wanted: WantedPlace,
    holder: &Waiting,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> (Condition, &'static str) {
    let (condition, expression) = if wanted.is_own {
        (
            Condition::that("holder = :holder"),
            "SET taken = :one, holder = :holder, workspace = :workspace, held_until = :until, expires = :expires",
        )
    } else {
        (
            free(now),
            "SET taken = :one, holder = :holder, workspace = :workspace, held_until = :until, expires = :expires REMOVE lenders",
        )
    };
    (
        named(condition, holder, until).number(":one", 1),
        expression,
    )
}

pub(super) fn free(now: DateTime<Utc>) -> Condition {
    Condition::that(format!(
        "attribute_not_exists({PARTITION}) OR held_until < :now"
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
    let lenders = text(item, "lenders").unwrap_or_default();
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
            workspace_id: parsed(text(item, "workspace"))?,
            run_id: parsed(text(item, "holder"))?,
        },
        until: DateTime::from_timestamp_millis(number(item, "held_until")).unwrap_or_default(),
        is_taken: number(item, "taken") > 0,
        lenders: lenders
            .split_whitespace()
            .map(lender)
            .collect::<Result<_>>()?,
        is_awaited: number(item, "awaited") > 0,
    })
}

pub(super) fn parsed<T: std::str::FromStr<Err: Into<domain::error::BoxError>>>(
    text: Option<&str>,
) -> Result<T> {
    text.unwrap_or_default().parse().map_err(Error::internal)
}
