//! Places for runs: an organization has so many, and a run that is worked on has one.
//!
//! A place is an item that ends with its run's lease, so that a worker that is killed leaves none behind. Runs that found none wait
//! in a list beside the places, in the order in which they were accepted. Both are in one partition of the counters table, which
//! one query reads.

mod item;

pub use item::{RunPlace, Waiting, WantedPlace};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, Utc};
use domain::ids::{OrganizationId, RunId};
use domain::run::Run;
use domain::{Error, Result};

use self::item::{KEPT, free, named, parsed, place, taking};
use crate::Store;
use crate::attributes::{AWAITED, EXPIRES, HELD_UNTIL, HOLDER, LENDERS, TAKEN, WORKSPACE};
use crate::aws_calls::{Call, aws_error, condition_failure};
use crate::item::{Item, number, sort_key, text};
use crate::keys::{self, PARTITION, RUN_PLACE, RUN_WAITING};
use crate::transaction::Condition;

/// The places of an organization, and the first of the runs that wait for one.
#[derive(Clone, Debug, Default)]
pub struct RunPlaces {
    /// By number; those that were free for a while are missing.
    pub places: Vec<RunPlace>,
    /// The oldest first.
    pub waiting: Vec<Waiting>,
}

/// The outcome of leaving a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Free,
    /// It is still the run's, since others wait for it or have lent it.
    Wanted,
    /// It was not the run's any more.
    NotOurs,
}

impl Store {
    /// Takes a place for a run. `false` when it is another's.
    pub async fn take_run_place(
        &self,
        run: &Run,
        wanted: WantedPlace,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool> {
        let (condition, expression) = taking(wanted, &Waiting::of(run), now, until);
        let organization = run.organization_id;
        let taken = self.update_place(organization, wanted.number, expression, condition);
        Ok(match taken.await? {
            None => true,
            // The answer to an earlier attempt got lost.
            Some(there) => {
                text(&there, HOLDER) == Some(&*run.id.to_string())
                    && number(&there, HELD_UNTIL) == until.timestamp_millis()
            }
        })
    }

    /// Keeps a run's place for longer. `false` when it is another's by now.
    pub async fn renew_run_place(
        &self,
        run: &Run,
        number: u16,
        until: DateTime<Utc>,
    ) -> Result<bool> {
        let condition = Condition::that(format!("{HOLDER} = :holder"))
            .text(":holder", &run.id.to_string())
            .number(":until", until.timestamp_millis())
            .number(":expires", (until + KEPT).timestamp());
        let expression = format!("SET {HELD_UNTIL} = :until, {EXPIRES} = :expires");
        self.change_place(run.organization_id, number, expression, condition)
            .await
    }

    /// Leaves a run's place, if no other run waits for it.
    pub async fn leave_run_place(
        &self,
        organization: OrganizationId,
        run: RunId,
        number: u16,
    ) -> Result<Left> {
        let condition = format!(
            "{HOLDER} = :holder AND attribute_not_exists({AWAITED}) AND attribute_not_exists({LENDERS})"
        );
        match self
            .delete_place(organization, run, number, condition)
            .await?
        {
            None => Ok(Left::Free),
            // The answer to an earlier attempt got lost.
            Some(there) if there.is_empty() => Ok(Left::Free),
            Some(there) if text(&there, HOLDER) == Some(&*run.to_string()) => Ok(Left::Wanted),
            Some(_) => Ok(Left::NotOurs),
        }
    }

    /// Leaves a run's place though others may wait for it. `false` when it was not the run's any more.
    pub async fn give_up_run_place(
        &self,
        organization: OrganizationId,
        run: RunId,
        number: u16,
    ) -> Result<bool> {
        let refused = self.delete_place(organization, run, number, format!("{HOLDER} = :holder"));
        Ok(refused.await?.is_none_or(|there| there.is_empty()))
    }

    /// Keeps a place for a run until its worker comes. `from`: whose it is now; else it must be free. `false` when it is not so.
    pub async fn hand_run_place(
        &self,
        organization: OrganizationId,
        number: u16,
        from: Option<RunId>,
        to: &RunPlace,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let condition = match from {
            Some(from) => {
                Condition::that(format!("{HOLDER} = :from")).text(":from", &from.to_string())
            }
            None => free(now),
        };
        let mut condition = named(condition, &to.holder, to.until);
        let mut expression = format!(
            "SET {HOLDER} = :holder, {WORKSPACE} = :workspace, {HELD_UNTIL} = :until, {EXPIRES} = :expires"
        );
        let mut removed = Vec::new();
        if to.is_awaited {
            expression.push_str(&format!(", {AWAITED} = :one"));
        }
        if to.is_taken {
            expression.push_str(&format!(", {TAKEN} = :one"));
        } else {
            removed.push(TAKEN);
        }
        if to.is_awaited || to.is_taken {
            condition = condition.number(":one", 1);
        }
        if to.lenders.is_empty() {
            removed.push(LENDERS);
        } else {
            let lenders = to.lenders.iter();
            let lenders =
                lenders.map(|lender| format!("{}/{}", lender.workspace_id, lender.run_id));
            let lenders = lenders.collect::<Vec<_>>().join(" ");
            condition = condition.text(":lenders", &lenders);
            expression.push_str(&format!(", {LENDERS} = :lenders"));
        }
        if !removed.is_empty() {
            expression = format!("{expression} REMOVE {}", removed.join(", "));
        }
        let handed = self.update_place(organization, number, &expression, condition);
        Ok(match handed.await? {
            None => true,
            // The answer to an earlier attempt got lost.
            Some(there) => {
                text(&there, HOLDER) == Some(&*to.holder.run_id.to_string())
                    && self::number(&there, HELD_UNTIL) == to.until.timestamp_millis()
            }
        })
    }

    /// Has the worker that leaves this place look for runs that wait. `false` when it was left before.
    pub async fn await_run_place(&self, organization: OrganizationId, number: u16) -> Result<bool> {
        let condition = Condition::exists().number(":one", 1);
        self.change_place(
            organization,
            number,
            format!("SET {AWAITED} = :one"),
            condition,
        )
        .await
    }

    /// Puts a run into the list of those that wait for a place.
    pub async fn wait_for_run_place(&self, run: &Run, now: DateTime<Utc>) -> Result<()> {
        let key = keys::run_waiting(run.organization_id, run.id);
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.counters)
            .set_item(Some(key.attributes()))
            .item(WORKSPACE, AttributeValue::S(run.workspace_id.to_string()))
            .item(
                EXPIRES,
                AttributeValue::N((now + KEPT).timestamp().to_string()),
            );
        put.sent().await.map_err(aws_error)?;
        Ok(())
    }

    /// Takes a run out of that list.
    pub async fn waits_no_more(&self, organization: OrganizationId, run: RunId) -> Result<()> {
        let key = keys::run_waiting(organization, run);
        let delete = self.dynamodb.delete_item();
        let delete = delete
            .table_name(&self.tables.counters)
            .set_key(Some(key.attributes()));
        delete.sent().await.map_err(aws_error)?;
        Ok(())
    }

    /// All places of an organization, of which there are `most` or so, and at least the first `waiting` of the runs that wait for
    /// one, as they are now.
    pub async fn run_places(
        &self,
        organization: OrganizationId,
        most: u16,
        waiting: usize,
    ) -> Result<RunPlaces> {
        let mut found = RunPlaces::default();
        let mut start = None;
        loop {
            let query = self
                .dynamodb
                .query()
                .table_name(&self.tables.counters)
                .key_condition_expression(format!("{PARTITION} = :partition"))
                .expression_attribute_values(
                    ":partition",
                    AttributeValue::S(keys::run_places(organization)),
                )
                .consistent_read(true)
                .set_limit(i32::try_from(usize::from(most) + waiting.max(1)).ok())
                .set_exclusive_start_key(start);
            let output = query.sent().await.map_err(aws_error)?;
            for item in output.items.unwrap_or_default() {
                let sort = sort_key(&item);
                if let Some(number) = sort.strip_prefix(RUN_PLACE) {
                    let number = number.parse().map_err(Error::internal)?;
                    found.places.push(place(number, &item)?);
                } else if let Some(run) = sort.strip_prefix(RUN_WAITING) {
                    found.waiting.push(Waiting {
                        workspace_id: parsed(text(&item, WORKSPACE))?,
                        run_id: run.parse().map_err(Error::internal)?,
                    });
                }
            }
            start = output.last_evaluated_key;
            // The places come first.
            if start.is_none() || found.waiting.len() >= waiting.max(1) {
                return Ok(found);
            }
        }
    }

    async fn change_place(
        &self,
        organization: OrganizationId,
        number: u16,
        expression: impl Into<String>,
        condition: Condition,
    ) -> Result<bool> {
        let refused = self.update_place(organization, number, expression, condition);
        Ok(refused.await?.is_none())
    }

    /// `None` when it is done; else what is there, which may be nothing.
    async fn update_place(
        &self,
        organization: OrganizationId,
        number: u16,
        expression: impl Into<String>,
        condition: Condition,
    ) -> Result<Option<Item>> {
        let (expected, values) = condition.parts();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::run_place(organization, number).attributes()))
            .update_expression(expression)
            .set_condition_expression(expected)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.sent().await {
            Ok(_) => Ok(None),
            Err(error) => match condition_failure(&error) {
                Some(there) => Ok(Some(there.clone())),
                None => Err(aws_error(error)),
            },
        }
    }

    /// `None` when the place is gone; else what is there, which may be nothing.
    async fn delete_place(
        &self,
        organization: OrganizationId,
        run: RunId,
        number: u16,
        condition: impl Into<String>,
    ) -> Result<Option<Item>> {
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::run_place(organization, number).attributes()))
            .condition_expression(condition)
            .expression_attribute_values(":holder", AttributeValue::S(run.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match delete.sent().await {
            Ok(_) => Ok(None),
            Err(error) => match condition_failure(&error) {
                Some(there) => Ok(Some(there.clone())),
                None => Err(aws_error(error)),
            },
        }
    }
}
