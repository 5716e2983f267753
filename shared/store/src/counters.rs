//! Counting in windows, for rate limits.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;

use crate::attributes::{COUNTED, EXPIRES, REQUESTS, WRONG};
use crate::aws_calls::{Call, aws_error};
use crate::item::{Item, number};
use crate::{Store, keys};

/// A fixed window of time, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    number: i64,
    seconds: i64,
}

impl Window {
    /// The minute that `now` is in.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self::of(60, now)
    }

    /// The hour that `now` is in.
    pub fn hour_at(now: DateTime<Utc>) -> Self {
        Self::of(3600, now)
    }

    fn of(seconds: i64, now: DateTime<Utc>) -> Self {
        Self {
            number: now.timestamp().div_euclid(seconds),
            seconds,
        }
    }

    /// The time when the window ends and the count starts anew.
    pub fn end(self) -> DateTime<Utc> {
        DateTime::from_timestamp((self.number + 1) * self.seconds, 0).unwrap_or_default()
    }
}

/// The number of passwords that were tried in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Those that were wrong, and those whose outcome is still open.
    pub counted: u32,
    pub wrong: u32,
}

impl Store {
    /// Counts one more request of `subject` under `policy` and returns how many there were in the window, this one
    /// included. One write, whatever the number of instances.
    pub async fn count(&self, policy: &str, subject: &str, window: Window) -> Result<u32> {
        let item = self
            .add(policy, subject, window, &[("requests", 1)])
            .await?;
        Ok(count_of(&item, REQUESTS))
    }

    /// Counts so many more requests at once, and returns how many there were in the window.
    pub async fn count_many(
        &self,
        policy: &str,
        subject: &str,
        window: Window,
        requests: u32,
    ) -> Result<u32> {
        let added = i32::try_from(requests).unwrap_or(i32::MAX);
        let item = self
            .add(policy, subject, window, &[("requests", added)])
            .await?;
        Ok(count_of(&item, REQUESTS))
    }

    /// Adds to the passwords that were tried for `subject` under `policy`, and returns how many there are now.
    pub async fn count_tries(
        &self,
        policy: &str,
        subject: &str,
        window: Window,
        counted: i32,
        wrong: i32,
    ) -> Result<Tries> {
        let added = [("counted", counted), ("wrong", wrong)];
        let item = self.add(policy, subject, window, &added).await?;
        Ok(Tries {
            counted: count_of(&item, COUNTED),
            wrong: count_of(&item, WRONG),
        })
    }

    /// Adds to the counts of a window, and returns them.
    async fn add(
        &self,
        policy: &str,
        subject: &str,
        window: Window,
        counts: &[(&str, i32)],
    ) -> Result<Item> {
        // Kept a little longer than it counts: DynamoDB deletes late, and a clock may be off.
        let expires = window.end() + TimeDelta::minutes(2);
        let sums: Vec<String> = counts
            .iter()
            .map(|(name, _)| format!("{name} :{name}"))
            .collect();
        let mut update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.counters)
            .set_key(Some(
                keys::counter(policy, subject, window.number).attributes(),
            ))
            .update_expression(format!("ADD {} SET {EXPIRES} = :expires", sums.join(", ")))
            .expression_attribute_values(
                ":expires",
                AttributeValue::N(expires.timestamp().to_string()),
            )
            .return_values(ReturnValue::UpdatedNew);
        for (name, count) in counts {
            let count = AttributeValue::N(count.to_string());
            update = update.expression_attribute_values(format!(":{name}"), count);
        }
        let output = update.sent().await.map_err(aws_error)?;
        Ok(output.attributes.unwrap_or_default())
    }
}

fn count_of(item: &Item, name: &str) -> u32 {
    u32::try_from(number(item, name).max(0)).unwrap_or(u32::MAX)
}
