//! Counting in windows, for rate limits.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;

use crate::item::{aws_error, number};
use crate::{Store, keys};

/// A fixed window of one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Minutes since 1970.
    number: i64,
}

impl Window {
    pub const SECONDS: i64 = 60;

    pub fn at(now: DateTime<Utc>) -> Self {
        Self {
            number: now.timestamp().div_euclid(Self::SECONDS),
        }
    }

    /// When the window ends and the count starts anew.
    pub fn end(self) -> DateTime<Utc> {
        DateTime::from_timestamp((self.number + 1) * Self::SECONDS, 0).unwrap_or_default()
    }
}

impl Store {
    /// Counts one more request of `subject` under `policy` and returns how many there were in the window, this one
    /// included. One write, whatever the number of instances.
    pub async fn count(&self, policy: &str, subject: &str, window: Window) -> Result<u32> {
        // Kept a little longer than it counts: DynamoDB deletes late, and a clock may be off.
        let expires = window.end() + TimeDelta::minutes(2);
        let output = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.counters)
            .set_key(Some(
                keys::counter(policy, subject, window.number).attributes(),
            ))
            .update_expression("ADD requests :one SET expires = :expires")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(
                ":expires",
                AttributeValue::N(expires.timestamp().to_string()),
            )
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await
            .map_err(aws_error)?;
        let count = output
            .attributes
            .as_ref()
            .map_or(1, |attributes| number(attributes, "requests"));
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
