//! Writes that happen together: each with the error that its condition's failure means.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use domain::{Error, Result};
use futures::future::BoxFuture;
use rand::RngExt;

use crate::Store;
use crate::attributes::{DATA, PACKED, REVISION, ROW_COUNT};
use crate::aws_calls::{Call, aws_error, condition_failure};
use crate::item::{Item, NewItem, Object};
use crate::keys::{Key, PARTITION, SORT, total};
use crate::packing::ESCAPED_LEN;

/// The number of times that a transaction that collided with another one is tried.
const ATTEMPTS: u32 = 6;

/// The error when a condition did not hold.
type OnFailure = fn() -> Error;

/// The condition of a write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    expression: Option<String>,
    values: Option<Item>,
}

impl Condition {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn absent() -> Self {
        Self::that(format!("attribute_not_exists({PARTITION})"))
    }

    pub(crate) fn exists() -> Self {
        Self::that(format!("attribute_exists({PARTITION})"))
    }

    /// The item is at this revision.
    pub(crate) fn revision(seen: u64) -> Self {
        Self::that(format!("{REVISION} = :seen")).number(":seen", seen)
    }

    pub(crate) fn that(expression: impl Into<String>) -> Self {
        Self {
            expression: Some(expression.into()),
            values: None,
        }
    }

    /// The expression and its values, for a call that is no transaction.
    pub(crate) fn parts(self) -> (Option<String>, Option<Item>) {
        (self.expression, self.values)
    }

    /// A number that the expression, or an update beside it, names.
    pub(crate) fn number(mut self, name: &str, value: impl ToString) -> Self {
        let values = self.values.get_or_insert_default();
        values.insert(name.to_owned(), AttributeValue::N(value.to_string()));
        self
    }

    /// A text that the expression, or an update beside it, names.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        let values = self.values.get_or_insert_default();
        values.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
        self
    }
}

/// Another writer was first.
pub(crate) fn stale() -> Error {
    Error::Conflict("the resource was modified concurrently; fetch it and retry".to_owned())
}

/// A set of writes in the making. Nothing happens before [`Self::commit`].
pub struct Transaction<'a> {
    store: &'a Store,
    writes: Vec<(TransactWriteItem, OnFailure)>,
    /// The objects that must be in S3 before the writes happen.
    objects: Vec<Object>,
    failure: Option<Error>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self {
            store,
            writes: Vec::new(),
            objects: Vec::new(),
            failure: None,
        }
    }

    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    /// Puts an item that must not exist yet.
    pub(crate) fn create(&mut self, table: &str, item: Result<NewItem>, or_else: OnFailure) {
        self.put(table, item, Condition::absent(), or_else);
    }

    /// Creates an item at revision 1, or replaces the one of revision `seen` by the next.
    pub(crate) fn put_revision(&mut self, item: Result<NewItem>, seen: Option<u64>) {
        let records = self.store.tables.records.clone();
        match seen {
            None => {
                let item = item.map(|item| item.number(REVISION, 1));
                self.create(&records, item, || {
                    Error::Conflict("it exists already".to_owned())
                });
            }
            Some(seen) => {
                let item = item.map(|item| item.number(REVISION, seen + 1));
                self.put(&records, item, Condition::revision(seen), stale);
            }
        }
    }

    /// Puts an item whatever is there.
    pub(crate) fn overwrite(&mut self, table: &str, item: Result<NewItem>) {
        self.put(table, item, Condition::none(), || {
            Error::internal("an unconditional write failed")
        });
    }

    pub(crate) fn put(
        &mut self,
        table: &str,
        item: Result<NewItem>,
        condition: Condition,
        or_else: OnFailure,
    ) {
        let put = item.and_then(|item| {
            self.objects.extend(item.object);
            Put::builder()
                .table_name(table)
                .set_item(Some(item.item))
                .set_condition_expression(condition.expression)
                .set_expression_attribute_values(condition.values)
                .build()
                .map_err(Error::internal)
        });
        let write = put.map(|put| TransactWriteItem::builder().put(put).build());
        self.push(write, or_else);
    }

    /// Sets the attributes of `item`, takes those of `removed` away, and leaves all others of the stored one alone. An entity that is
    /// packed takes the place of one that was not, and the other way around.
    pub(crate) fn change(
        &mut self,
        table: &str,
        item: Result<NewItem>,
        removed: &[&str],
        condition: Condition,
        or_else: OnFailure,
    ) {
        let update = item.and_then(|item| {
            self.objects.extend(item.object);
            let mut values = condition.values.unwrap_or_default();
            let mut names = HashMap::new();
            let mut key = Item::new();
            let mut sets = Vec::new();
            for (position, (name, value)) in item.item.into_iter().enumerate() {
                if name == PARTITION || name == SORT {
                    key.insert(name, value);
                    continue;
                }
                sets.push(format!("#a{position} = :a{position}"));
                names.insert(format!("#a{position}"), name);
                values.insert(format!(":a{position}"), value);
            }
            let mut removed = removed.to_vec();
            let is_packed = names.values().any(|name| name == PACKED);
            if is_packed {
                names.insert("#data".to_owned(), DATA.to_owned());
                removed.push("#data");
            } else {
                removed.extend([PACKED, ESCAPED_LEN]);
            }
            let expression = format!("SET {} REMOVE {}", sets.join(", "), removed.join(", "));
            Update::builder()
                .table_name(table)
                .set_key(Some(key))
                .update_expression(expression)
                .set_condition_expression(condition.expression)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(Some(values))
                .build()
                .map_err(Error::internal)
        });
        let write = update.map(|update| TransactWriteItem::builder().update(update).build());
        self.push(write, or_else);
    }

    /// Counts rows that come to a list whose total is kept, or go from it.
    pub(crate) fn count(&mut self, list: &str, rows: i64) {
        let records = self.store.tables.records.clone();
        let condition = Condition::none().number(":rows", rows);
        self.update(
            &records,
            &total(list),
            format!("ADD {ROW_COUNT} :rows"),
            condition,
            || Error::internal("an unconditional write failed"),
        );
    }

    /// Counts a row that comes to a list whose total is kept, if the list has less than `most`.
    pub(crate) fn count_one_of(&mut self, list: &str, most: i64, or_else: OnFailure) {
        let records = self.store.tables.records.clone();
        let condition = Condition::that(format!(
            "attribute_not_exists({ROW_COUNT}) OR {ROW_COUNT} < :most"
        ));
        let condition = condition.number(":most", most).number(":rows", 1);
        self.update(
            &records,
            &total(list),
            format!("ADD {ROW_COUNT} :rows"),
            condition,
            or_else,
        );
    }

    /// Carries out an update expression of the caller's.
    pub(crate) fn update(
        &mut self,
        table: &str,
        key: &Key,
        expression: impl Into<String>,
        condition: Condition,
        or_else: OnFailure,
    ) {
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .update_expression(expression)
            .set_condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .build()
            .map_err(Error::internal);
        let write = update.map(|update| TransactWriteItem::builder().update(update).build());
        self.push(write, or_else);
    }

    pub(crate) fn delete(
        &mut self,
        table: &str,
        key: &Key,
        condition: Condition,
        or_else: OnFailure,
    ) {
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .build()
            .map_err(Error::internal);
        let write = delete.map(|delete| TransactWriteItem::builder().delete(delete).build());
        self.push(write, or_else);
    }

    /// Lets the rest happen only while `condition` holds for an item that is not written.
    pub(crate) fn check(
        &mut self,
        table: &str,
        key: &Key,
        condition: Condition,
        or_else: OnFailure,
    ) {
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(key.attributes()))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .build()
            .map_err(Error::internal);
        let write = check.map(|check| TransactWriteItem::builder().condition_check(check).build());
        self.push(write, or_else);
    }

    fn push(&mut self, write: Result<TransactWriteItem>, or_else: OnFailure) {
        match write {
            Ok(write) => self.writes.push((write, or_else)),
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Does it all, or nothing.
    ///
    /// # Errors
    /// The error of the first write whose condition did not hold; `Unavailable` when others kept writing the same items.
    pub fn commit(self) -> BoxFuture<'a, Result<()>> {
        // Not an async function, which every crate that commits would compile once more.
        Box::pin(self.try_to_commit())
    }

    async fn try_to_commit(self) -> Result<()> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        let (store, objects) = (self.store, self.objects);
        let done = match store.put_objects(&objects).await {
            // Boxed, so that the futures above carry no transaction.
            Ok(()) => Box::pin(write(store, self.writes)).await,
            Err(error) => Err(CommitError::RolledBack(error)),
        };
        match done {
            Ok(()) => Ok(()),
            Err(CommitError::RolledBack(error)) => {
                store.delete_objects(&objects).await;
                Err(error)
            }
            Err(CommitError::Unknown(error)) => Err(error),
        }
    }
}

/// The reason why a transaction did not happen, or may not have.
enum CommitError {
    RolledBack(Error),
    /// DynamoDB has not said which.
    Unknown(Error),
}

async fn write(
    store: &Store,
    writes: Vec<(TransactWriteItem, OnFailure)>,
) -> Result<(), CommitError> {
    match &writes[..] {
        [(TransactWriteItem { put: Some(put), .. }, on_failure)] => {
            return put_alone(store, put.clone(), *on_failure).await;
        }
        [
            (
                TransactWriteItem {
                    update: Some(update),
                    ..
                },
                on_failure,
            ),
        ] => {
            return update_alone(store, update.clone(), *on_failure).await;
        }
        _ => {}
    }
    let (items, on_failure): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
    let mut attempt = 0;
    loop {
        let write = store
            .dynamodb
            .transact_write_items()
            .set_transact_items(Some(items.clone()));
        let error = match write.sent().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let SdkError::ServiceError(service) = &error else {
            return Err(CommitError::Unknown(aws_error(error)));
        };
        let TransactWriteItemsError::TransactionCanceledException(cancelled) = service.err() else {
            return Err(CommitError::Unknown(aws_error(error)));
        };
        let reasons = cancelled.cancellation_reasons();
        let failed = reasons
            .iter()
            .position(|reason| reason.code() == Some("ConditionalCheckFailed"));
        if let Some(on_failure) = failed.and_then(|index| on_failure.get(index)) {
            return Err(CommitError::RolledBack(on_failure()));
        }
        let collided = reasons.iter().any(|reason| {
            matches!(
                reason.code(),
                Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
            )
        });
        attempt += 1;
        if !collided {
            return Err(CommitError::RolledBack(Error::internal(
                aws_sdk_dynamodb::error::DisplayErrorContext(&error).to_string(),
            )));
        }
        if attempt == ATTEMPTS {
            return Err(CommitError::RolledBack(Error::unavailable(
                "a transaction kept colliding with others",
            )));
        }
        // The SDK retries throttling of the call, not a collision inside it.
        let wait = rand::rng().random_range(1..=(10 << attempt));
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

/// A transaction of one write, without the price of one. Unlike one, it may refuse itself when the SDK repeats it after a lost
/// answer: then what is there is what it has written.
async fn put_alone(store: &Store, put: Put, on_failure: OnFailure) -> Result<(), CommitError> {
    let wanted = put.item.clone();
    let call = store
        .dynamodb
        .put_item()
        .table_name(put.table_name)
        .set_item(Some(put.item))
        .set_condition_expression(put.condition_expression)
        .set_expression_attribute_names(put.expression_attribute_names)
        .set_expression_attribute_values(put.expression_attribute_values)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let error = match call.sent().await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    match condition_failure(&error) {
        Some(there) if *there == wanted => Ok(()),
        // What it has written may have been written over meanwhile: an object may be in use that its item named.
        Some(_) => Err(CommitError::Unknown(on_failure())),
        None => Err(CommitError::Unknown(aws_error(error))),
    }
}

/// Like [`put_alone`], for an update.
async fn update_alone(
    store: &Store,
    update: Update,
    on_failure: OnFailure,
) -> Result<(), CommitError> {
    let names = update.expression_attribute_names.clone();
    let values = update.expression_attribute_values.clone();
    let call = store
        .dynamodb
        .update_item()
        .table_name(update.table_name)
        .set_key(Some(update.key))
        .update_expression(update.update_expression)
        .set_condition_expression(update.condition_expression)
        .set_expression_attribute_names(update.expression_attribute_names)
        .set_expression_attribute_values(update.expression_attribute_values)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let error = match call.sent().await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let (names, values) = (names.unwrap_or_default(), values.unwrap_or_default());
    // `change` names what it sets `#a1` and the value `:a1`.
    let is_set = |there: &Item| {
        let set = names.iter();
        let set = set.filter(|(placeholder, _)| placeholder.starts_with("#a"));
        let mut set = set.map(|(placeholder, name)| {
            let value = values.get(&placeholder.replace('#', ":"));
            value.is_some() && there.get(name) == value
        });
        !names.is_empty() && set.all(|is_there| is_there)
    };
    match condition_failure(&error) {
        Some(there) if is_set(there) => Ok(()),
        Some(_) => Err(CommitError::Unknown(on_failure())),
        None => Err(CommitError::Unknown(aws_error(error))),
    }
}
