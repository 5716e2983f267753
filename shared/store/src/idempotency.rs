//! The use of an `Idempotency-Key`: the request, and what was answered.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, TimeDelta, Utc};
use domain::digest::sha256_hex;
use domain::{Error, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::attributes::{DATA, EXPIRES};
use crate::aws_calls::{Call, aws_error, condition_failure};
use crate::item::{NewItem, entity};
use crate::{Store, keys};

/// A response that is given again. `sealed` is the body, encrypted by the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResponse {
    pub status: u16,
    pub sealed: String,
}

/// A request that came with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Tells this attempt from any other.
    pub nonce: Uuid,
    /// Of the body: the same key with another body is a mistake.
    pub fingerprint: String,
    /// The time when the key was first used.
    pub first_at: DateTime<Utc>,
    /// The time until which a second request assumes that this one is still being worked on.
    pub in_flight_until: DateTime<Utc>,
    pub response: Option<StoredResponse>,
}

impl Store {
    /// The time that an idempotency key is remembered.
    pub const IDEMPOTENCY_KEPT_FOR: TimeDelta = TimeDelta::hours(24);

    /// Claims `scope` for `attempt`, or returns the attempt that has it.
    pub async fn claim_idempotency(
        &self,
        scope: &str,
        attempt: &Attempt,
    ) -> Result<Result<(), Attempt>> {
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.counters)
            .set_item(Some(new_item(scope, attempt)?.item))
            // DynamoDB deletes what has expired days later, if it must.
            .condition_expression(format!(
                "attribute_not_exists({}) OR {EXPIRES} < :now",
                keys::PARTITION
            ))
            .expression_attribute_values(
                ":now",
                AttributeValue::N(attempt.first_at.timestamp().to_string()),
            )
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.sent().await {
            Ok(_) => Ok(Ok(())),
            Err(error) => match condition_failure(&error) {
                Some(stored) => {
                    let stored: Attempt = entity(stored)?;
                    // The SDK may have sent it twice, and the first one have got through.
                    Ok(if stored == *attempt {
                        Ok(())
                    } else {
                        Err(stored)
                    })
                }
                None => Err(aws_error(error)),
            },
        }
    }

    /// Replaces `seen` by `attempt`; `false` when another request did so first.
    pub async fn replace_idempotency(
        &self,
        scope: &str,
        seen: &Attempt,
        attempt: &Attempt,
    ) -> Result<bool> {
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.counters)
            .set_item(Some(new_item(scope, attempt)?.item))
            .condition_expression("#data = :seen")
            .expression_attribute_names("#data", DATA)
            .expression_attribute_values(":seen", data(seen)?)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.sent().await {
            Ok(_) => Ok(true),
            Err(error) => match condition_failure(&error) {
                Some(stored) => {
                    Ok(entity::<Attempt>(stored).is_ok_and(|stored| stored == *attempt))
                }
                None => Err(aws_error(error)),
            },
        }
    }

    /// Forgets `attempt`, whose request changed nothing, so that it can be sent again. One that was taken over
    /// belongs to another request.
    pub async fn release_idempotency(&self, scope: &str, attempt: &Attempt) -> Result<()> {
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::idempotency(&sha256_hex(scope)).attributes()))
            .condition_expression("#data = :seen")
            .expression_attribute_names("#data", DATA)
            .expression_attribute_values(":seen", data(attempt)?);
        match delete.sent().await {
            Ok(_) => Ok(()),
            Err(error) if condition_failure(&error).is_some() => Ok(()),
            Err(error) => Err(aws_error(error)),
        }
    }
}

fn new_item(scope: &str, attempt: &Attempt) -> Result<NewItem> {
    let key = keys::idempotency(&sha256_hex(scope));
    Ok(NewItem::new(key, "idempotency", attempt)?
        .expires(attempt.first_at + Store::IDEMPOTENCY_KEPT_FOR))
}

fn data(attempt: &Attempt) -> Result<AttributeValue> {
    Ok(AttributeValue::S(
        serde_json::to_string(attempt).map_err(Error::internal)?,
    ))
}
