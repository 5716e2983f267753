//! What an `Idempotency-Key` was used for: the request, and what was answered.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use serde::{Deserialize, Serialize};

use crate::item::{Item, NewItem, aws_error, entity};
use crate::{Store, keys};

/// A response that is given again. `sealed` is the body, encrypted by whoever stores it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredResponse {
    pub status: u16,
    pub sealed: String,
}

/// A request that came with an idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Hash of the body: the same key with another body is a mistake.
    pub fingerprint: String,
    /// When the key was first used.
    pub first_at: DateTime<Utc>,
    /// Until when a second request assumes that this one is still being worked on.
    pub in_flight_until: DateTime<Utc>,
    pub response: Option<StoredResponse>,
}

impl Store {
    /// How long an idempotency key is remembered.
    pub const IDEMPOTENCY_KEPT_FOR: TimeDelta = TimeDelta::hours(24);

    /// Claims `scope` for `attempt`, or returns the attempt that has it. One that was given up, without a response and past
    /// its time, is taken over: its `first_at` is returned in the claim, so that the work is found rather than repeated.
    pub async fn claim_idempotency(
        &self,
        scope: &str,
        attempt: &Attempt,
    ) -> Result<Result<(), Attempt>> {
        let key = keys::idempotency(&keys::sha256(scope));
        let item = NewItem::new(key, "idempotency", attempt)?
            .expires(attempt.first_at + Self::IDEMPOTENCY_KEPT_FOR);
        let sent = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.counters)
            .set_item(Some(item.item))
            .condition_expression(format!("attribute_not_exists({})", keys::PARTITION))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Ok(())),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                match error.into_err() {
                    aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(failed) => {
                        let item = failed.item.ok_or_else(|| domain::Error::internal("a failed condition without its item"))?;
                        Ok(Err(entity(&item)?))
                    }
                    other => Err(domain::Error::internal(other)),
                }
            }
            Err(error) => Err(aws_error(error)),
        }
    }

    /// Replaces `seen` by `attempt`; `false` when somebody else did so first.
    pub async fn replace_idempotency(
        &self,
        scope: &str,
        seen: &Attempt,
        attempt: &Attempt,
    ) -> Result<bool> {
        let key = keys::idempotency(&keys::sha256(scope));
        let item = NewItem::new(key, "idempotency", attempt)?
            .expires(attempt.first_at + Self::IDEMPOTENCY_KEPT_FOR);
        let seen = serde_json::to_string(seen).map_err(domain::Error::internal)?;
        let sent = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.counters)
            .set_item(Some(item.item))
            .condition_expression("#data = :seen")
            .expression_attribute_names("#data", "data")
            .set_expression_attribute_values(Some(Item::from([(
                ":seen".to_owned(),
                AttributeValue::S(seen),
            )])))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error))
                if error.err().is_conditional_check_failed_exception() =>
            {
                Ok(false)
            }
            Err(error) => Err(aws_error(error)),
        }
    }

    /// Forgets a key whose request changed nothing, so that it can be sent again.
    pub async fn release_idempotency(&self, scope: &str) -> Result<()> {
        let key = keys::idempotency(&keys::sha256(scope));
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.tables.counters)
            .set_key(Some(key.attributes()));
        delete.send().await.map_err(aws_error)?;
        Ok(())
    }
}
