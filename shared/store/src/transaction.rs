//! Writes that happen together: each with the error that its condition's failure means.

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use domain::{Error, Result};
use rand::RngExt;

use crate::Store;
use crate::item::{Item, NewItem, aws_error, sent};
use crate::keys::{Key, PARTITION};

/// How often a transaction that collided with another one is tried.
const ATTEMPTS: u32 = 6;

/// What to answer when a condition did not hold.
type OnFailure = fn() -> Error;

/// A set of writes in the making. Nothing happens before [`Self::commit`].
pub struct Transaction<'a> {
    store: &'a Store,
    writes: Vec<(TransactWriteItem, OnFailure)>,
    failure: Option<Error>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self {
            store,
            writes: Vec::new(),
            failure: None,
        }
    }

    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    /// Puts an item that must not exist yet.
    pub(crate) fn create(&mut self, table: &str, item: Result<NewItem>, or_else: OnFailure) {
        self.put(
            table,
            item,
            Some((format!("attribute_not_exists({PARTITION})"), Item::new())),
            or_else,
        );
    }

    /// Puts an item in place of the one with this `revision`.
    pub(crate) fn replace(
        &mut self,
        table: &str,
        item: Result<NewItem>,
        revision: u64,
        or_else: OnFailure,
    ) {
        let values = Item::from([(
            ":revision".to_owned(),
            AttributeValue::N(revision.to_string()),
        )]);
        self.put(
            table,
            item,
            Some(("revision = :revision".to_owned(), values)),
            or_else,
        );
    }

    /// Puts an item whatever is there.
    pub(crate) fn overwrite(&mut self, table: &str, item: Result<NewItem>) {
        self.put(table, item, None, || {
            Error::internal("an unconditional write failed")
        });
    }

    pub(crate) fn put(
        &mut self,
        table: &str,
        item: Result<NewItem>,
        condition: Option<(String, Item)>,
        or_else: OnFailure,
    ) {
        let item = match item {
            Ok(item) => item,
            Err(error) => return self.fail(error),
        };
        let mut put = Put::builder().table_name(table).set_item(Some(item.item));
        if let Some((expression, values)) = condition {
            put = put
                .condition_expression(expression)
                .set_expression_attribute_values((!values.is_empty()).then_some(values));
        }
        match put.build() {
            Ok(put) => self
                .writes
                .push((TransactWriteItem::builder().put(put).build(), or_else)),
            Err(error) => self.fail(Error::internal(error)),
        }
    }

    pub(crate) fn delete(
        &mut self,
        table: &str,
        key: &Key,
        condition: Option<(String, Item)>,
        or_else: OnFailure,
    ) {
        let mut delete = Delete::builder()
            .table_name(table)
            .set_key(Some(key.attributes()));
        if let Some((expression, values)) = condition {
            delete = delete
                .condition_expression(expression)
                .set_expression_attribute_values((!values.is_empty()).then_some(values));
        }
        match delete.build() {
            Ok(delete) => self
                .writes
                .push((TransactWriteItem::builder().delete(delete).build(), or_else)),
            Err(error) => self.fail(Error::internal(error)),
        }
    }

    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Does it all, or nothing.
    ///
    /// # Errors
    /// The error of the first write whose condition did not hold; `Unavailable` when others kept writing the same items.
    pub async fn commit(self) -> Result<()> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        let (items, on_failure): (Vec<_>, Vec<_>) = self.writes.into_iter().unzip();
        let mut attempt = 0;
        loop {
            let write = self
                .store
                .dynamodb
                .transact_write_items()
                .set_transact_items(Some(items.clone()));
            let error = match sent(write.send()).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let SdkError::ServiceError(service) = &error else {
                return Err(aws_error(error));
            };
            let TransactWriteItemsError::TransactionCanceledException(cancelled) = service.err()
            else {
                return Err(aws_error(error));
            };
            let reasons = cancelled.cancellation_reasons();
            let failed = reasons
                .iter()
                .position(|reason| reason.code() == Some("ConditionalCheckFailed"));
            if let Some(on_failure) = failed.and_then(|index| on_failure.get(index)) {
                return Err(on_failure());
            }
            let collided = reasons.iter().any(|reason| {
                matches!(
                    reason.code(),
                    Some(
                        "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"
                    )
                )
            });
            attempt += 1;
            if !collided {
                return Err(Error::internal(
                    aws_sdk_dynamodb::error::DisplayErrorContext(&error).to_string(),
                ));
            }
            if attempt == ATTEMPTS {
                return Err(Error::unavailable(
                    "a transaction kept colliding with others",
                ));
            }
            // The SDK retries throttling of the call, not a collision inside it.
            let wait = rand::rng().random_range(1..=(10 << attempt));
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }
}
