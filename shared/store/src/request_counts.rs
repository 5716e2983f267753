//! Counts that follow from the request log: a workspace's requests by day, and the uses of its keys.
//!
//! A request writes one row of the log and no counter. The tick counts the rows once a minute: a checkpoint, one item for each workspace
//! in use, says up to when they are counted, and moves on in the transaction that adds to the counts, so that every row counts once.
//! A count lags by two minutes at most.
//!
//! * Rows are in the order in which requests came. The checkpoint may have passed the place of a row that is written more than
//!   [`ON_TIME`] after its request came, as that of a long stream: such a row stands where it is written.
//! * An instance of a function writes the checkpoint of a workspace once a minute while it has requests. One that was not written for
//!   [`IDLE_AFTER`] is deleted once all is counted.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use domain::activity::{ActivityCount, RequestLogEntry};
use domain::ids::{ActivityId, OrganizationId, TokenId, WorkspaceId};
use domain::page::MAX_OFFSET;
use domain::{Error, Result};
use futures::future::try_join_all;

use crate::Store;
use crate::attributes::{
    COUNTED_TO, DURATION_MICROS, EXPIRES, LAST_USED_AT, ORGANIZATION, REQUESTS, TOUCHED_AT,
    USAGE_COUNT,
};
use crate::aws_calls::{Call, aws_error};
use crate::item::{Item, entity, number, readable, sort_key, text};
use crate::keys::{self, CHECKPOINT_SHARDS, Index, PARTITION, SORT};
use crate::transaction::{Condition, stale};

/// The time that the log and its counts are kept.
pub(crate) const KEPT_FOR: TimeDelta = TimeDelta::days(90);
/// The time that the clock of another machine may be ahead.
pub(crate) const AHEAD: TimeDelta = TimeDelta::hours(1);
/// The age of a request up to which its row stands where the request came.
const ON_TIME: TimeDelta = TimeDelta::seconds(20);
/// The age from which the tick counts rows: by then one that was on time is written, also by a machine whose clock is a little off.
const LAG: TimeDelta = TimeDelta::seconds(30);
/// The time after which a checkpoint without requests is deleted. Instances write it each minute.
const IDLE_AFTER: TimeDelta = TimeDelta::seconds(150);
/// The time after which a checkpoint is forgotten that no tick has looked at.
const ABANDONED_AFTER: TimeDelta = TimeDelta::days(7);
/// The number of rows that are counted in one transaction.
const ROWS_AT_ONCE: usize = 5_000;
/// The age of the oldest row of a workspace that the tick has not counted anything of.
const UNCOUNTED_FOR: TimeDelta = TimeDelta::hours(1);
/// The number of keys whose uses are counted in one transaction, which takes a hundred items.
const KEYS_AT_ONCE: usize = 90;

/// The time up to which the requests of a workspace are counted.
#[derive(Clone, Copy, Debug)]
pub struct RequestCheckpoint {
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    counted_to: DateTime<Utc>,
    touched_at: DateTime<Utc>,
}

/// Rows to be counted together.
#[derive(Default)]
struct Batch {
    rows: usize,
    /// The time of the last row's request.
    last: Option<DateTime<Utc>>,
    days: BTreeMap<NaiveDate, ActivityCount>,
    /// The uses of each key, and the last of them.
    uses: HashMap<TokenId, (u64, DateTime<Utc>)>,
    /// All rows from before are in the batch.
    until: DateTime<Utc>,
}

impl Batch {
    /// Takes a row in; `false` when the batch is full, and ends before it.
    fn add(&mut self, row: &RequestLogEntry) -> bool {
        // The checkpoint has milliseconds, as the ids of rows have: those of one millisecond belong together.
        let at = row.id.created_at();
        let is_full = self.rows >= ROWS_AT_ONCE || self.uses.len() >= KEYS_AT_ONCE;
        if is_full && self.last != Some(at) {
            self.until = at;
            return false;
        }
        self.last = Some(at);
        self.rows += 1;
        if !row.counted_by_tick {
            return true;
        }
        *self.days.entry(at.date_naive()).or_default() += ActivityCount::of(row);
        if row.is_use {
            let (uses, last) = self.uses.entry(row.key_id).or_default();
            *uses += 1;
            *last = at.max(*last);
        }
        true
    }
}

impl Store {
    /// Has the tick find the row that is being written.
    pub(crate) async fn touch_checkpoint(
        &self,
        row: &RequestLogEntry,
        organization: OrganizationId,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let workspace = row.workspace_id;
        if !self.touched.claim(workspace, now) {
            return Ok(());
        }
        let millis = |at: DateTime<Utc>| AttributeValue::N(at.timestamp_millis().to_string());
        // Another row that is on time may be older than this one.
        let from = row.id.created_at() - ON_TIME;
        let expires = (now + ABANDONED_AFTER).timestamp();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::checkpoint(workspace).attributes()))
            .update_expression(format!(
                "SET {TOUCHED_AT} = :now, {ORGANIZATION} = :organization, {EXPIRES} = :expires, \
                 {COUNTED_TO} = if_not_exists({COUNTED_TO}, :from)"
            ))
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":from", millis(from))
            .expression_attribute_values(":expires", AttributeValue::N(expires.to_string()))
            .expression_attribute_values(
                ":organization",
                AttributeValue::S(organization.to_string()),
            );
        let touched = update.sent().await.map(drop).map_err(aws_error);
        if touched.is_err() {
            self.touched.forget(workspace);
        }
        touched
    }

    /// The workspaces that have requests to be counted, or had some lately.
    pub async fn request_checkpoints(&self) -> Result<Vec<RequestCheckpoint>> {
        let partitions: Vec<String> = (0..CHECKPOINT_SHARDS).map(keys::checkpoint_shard).collect();
        let shards = partitions
            .iter()
            .map(|partition| self.collection(&self.tables.counters, partition, "", ""));
        let items = try_join_all(shards).await?.into_iter().flatten();
        Ok(items.filter_map(|item| read_checkpoint(&item)).collect())
    }

    /// Counts the next requests of a workspace: those whose rows are written by now, or came before `settled_before`, when all of that
    /// time are. The checkpoint to go on from, and how many were counted; no checkpoint when all are.
    ///
    /// # Errors
    /// `Conflict` when another tick has counted them.
    pub async fn count_requests(
        &self,
        from: &RequestCheckpoint,
        now: DateTime<Utc>,
        settled_before: Option<DateTime<Utc>>,
    ) -> Result<(Option<RequestCheckpoint>, usize)> {
        let until = settled_before.unwrap_or(now - LAG);
        if until <= from.counted_to {
            return Ok((None, 0));
        }
        let mut batch = self.next_rows(from, until).await?;
        if batch.rows == 0 && batch.until >= until {
            if now - from.touched_at > IDLE_AFTER {
                self.forget_checkpoint(from).await?;
            }
            return Ok((None, 0));
        }
        while let Err(error) = self.add_counts(from, &batch).await {
            if !matches!(error, Error::NotFound(_)) {
                return Err(error);
            }
            // A key was deleted. Its uses are of no account any more.
            let tokens = batch.uses.keys().copied().collect::<Vec<_>>();
            let known = tokens.len();
            for id in tokens {
                if self.token(from.organization_id, id).await?.is_none() {
                    batch.uses.remove(&id);
                }
            }
            if batch.uses.len() == known {
                return Err(Error::internal(
                    "a key is there, and its uses cannot be counted",
                ));
            }
        }
        let next = RequestCheckpoint {
            counted_to: batch.until,
            ..*from
        };
        Ok((Some(next).filter(|_| batch.until < until), batch.rows))
    }

    /// Deletes a checkpoint, unless the workspace has had requests since it was read.
    pub async fn forget_checkpoint(&self, seen: &RequestCheckpoint) -> Result<()> {
        let mut transaction = self.transaction();
        let unchanged = Condition::that(format!("{TOUCHED_AT} = :seen"))
            .number(":seen", seen.touched_at.timestamp_millis());
        let key = keys::checkpoint(seen.workspace_id);
        transaction.delete(&self.tables.counters, &key, unchanged, stale);
        match transaction.commit().await {
            Err(Error::Conflict(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// The time up to which the requests of a workspace are counted; `None` for one without requests lately.
    pub(crate) async fn counted_to(&self, workspace: WorkspaceId) -> Result<Option<DateTime<Utc>>> {
        let key = keys::checkpoint(workspace);
        let item = self.get_item(&self.tables.counters, &key).await?;
        Ok(item.as_ref().and_then(counted_to))
    }

    async fn next_rows(&self, from: &RequestCheckpoint, until: DateTime<Utc>) -> Result<Batch> {
        let mut batch = Batch {
            until,
            ..Batch::default()
        };
        for day in days_between(from.counted_to, until) {
            let mut start = None;
            loop {
                let query = self
                    .rows_of_day(from.workspace_id, day, from.counted_to, until)
                    .set_exclusive_start_key(start);
                let output = query.sent().await.map_err(aws_error)?;
                for item in output.items.unwrap_or_default() {
                    if let Some(row) = readable(&item, entity::<RequestLogEntry>)
                        && !batch.add(&row)
                    {
                        return Ok(batch);
                    }
                }
                start = output.last_evaluated_key;
                if start.is_none() {
                    break;
                }
            }
        }
        Ok(batch)
    }

    /// Rows of a day, the oldest first.
    fn rows_of_day(
        &self,
        workspace: WorkspaceId,
        day: NaiveDate,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> QueryFluentBuilder {
        let first = |at| AttributeValue::S(ActivityId::first_at(at).to_string());
        self.dynamodb
            .query()
            .table_name(&self.tables.logs)
            .key_condition_expression(format!(
                "{PARTITION} = :partition AND {SORT} BETWEEN :low AND :high"
            ))
            .expression_attribute_values(
                ":partition",
                AttributeValue::S(keys::activity_day(workspace, day)),
            )
            .expression_attribute_values(":low", first(from))
            .expression_attribute_values(":high", first(until))
            .consistent_read(true)
    }

    async fn add_counts(&self, from: &RequestCheckpoint, batch: &Batch) -> Result<()> {
        let mut transaction = self.transaction();
        let moved = Condition::that(format!("{COUNTED_TO} = :seen"))
            .number(":seen", from.counted_to.timestamp_millis())
            .number(":until", batch.until.timestamp_millis());
        let checkpoint = keys::checkpoint(from.workspace_id);
        let counters = &self.tables.counters;
        transaction.update(
            counters,
            &checkpoint,
            format!("SET {COUNTED_TO} = :until"),
            moved,
            stale,
        );
        for (day, count) in &batch.days {
            let added = Condition::none()
                .number(":requests", count.requests)
                .number(":duration", count.duration_micros)
                .number(":until", batch.until.timestamp_millis())
                .number(":expires", expires(*day));
            transaction.update(
                &self.tables.logs,
                &keys::activity_count(from.workspace_id, *day),
                format!("ADD {REQUESTS} :requests, {DURATION_MICROS} :duration SET {EXPIRES} = :expires, {COUNTED_TO} = :until"),
                added,
                || Error::internal("an unconditional write failed"),
            );
        }
        for (id, (uses, last)) in &batch.uses {
            // Else a key that is deleted at this moment would leave half of it behind.
            let exists = format!("attribute_exists({})", Index::Children.partition());
            let used = Condition::that(exists)
                .number(":uses", uses)
                .number(":last", last.timestamp_millis());
            transaction.update(
                &self.tables.records,
                &keys::token(from.organization_id, *id),
                format!("ADD {USAGE_COUNT} :uses SET {LAST_USED_AT} = :last"),
                used,
                || Error::NotFound("token"),
            );
        }
        transaction.commit().await
    }

    /// The first rows of the log that the tick has not counted up to now, at most 1,000.
    pub(crate) async fn uncounted(
        &self,
        workspace: WorkspaceId,
        counted_to: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<RequestLogEntry>> {
        let most = MAX_OFFSET as usize;
        let mut rows = Vec::new();
        for day in uncounted_days(counted_to, now) {
            let query = self
                .rows_of_day(workspace, day, counted_to, now + AHEAD)
                .limit(i32::try_from(most - rows.len()).unwrap_or(i32::MAX));
            let output = query.sent().await.map_err(aws_error)?;
            let items = output.items.unwrap_or_default();
            let read = items
                .iter()
                .filter_map(|item| readable(item, entity::<RequestLogEntry>));
            rows.extend(read.filter(|row| row.counted_by_tick));
            if rows.len() >= most {
                break;
            }
        }
        Ok(rows)
    }
}

/// The id that gives a row which is written now a place in front of the checkpoint.
pub(crate) fn row_id(row: &RequestLogEntry, now: DateTime<Utc>) -> ActivityId {
    if now - row.created_at <= ON_TIME {
        row.id
    } else {
        ActivityId::new(now)
    }
}

/// The time up to which the tick has counted, as a checkpoint or a day's count says.
pub(crate) fn counted_to(item: &Item) -> Option<DateTime<Utc>> {
    item.get(COUNTED_TO)?;
    DateTime::from_timestamp_millis(number(item, COUNTED_TO))
}

/// The days that may have requests which are not counted.
pub(crate) fn uncounted_days(
    counted_to: DateTime<Utc>,
    now: DateTime<Utc>,
) -> impl Iterator<Item = NaiveDate> {
    days_between(counted_to, now + AHEAD)
}

/// The time up to which requests are counted, by the `counts` that were read and by the `checkpoint` of before or after. Without a checkpoint
/// all are, however long ago that was.
pub(crate) fn latest_count(
    counts: Option<DateTime<Utc>>,
    checkpoint: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    // DynamoDB removes rows later than they end. Whole days are kept.
    let kept_from = (now - KEPT_FOR).date_naive().and_time(NaiveTime::MIN);
    checkpoint
        .unwrap_or(now - UNCOUNTED_FOR)
        .max(counts.unwrap_or_default())
        .max(kept_from.and_utc())
}

fn days_between(from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = NaiveDate> {
    let last = to.date_naive();
    from.date_naive()
        .iter_days()
        .take_while(move |day| *day <= last)
}

fn expires(day: NaiveDate) -> i64 {
    let begin = day.and_time(NaiveTime::MIN).and_utc();
    (begin + TimeDelta::days(1) + KEPT_FOR).timestamp()
}

fn read_checkpoint(item: &Item) -> Option<RequestCheckpoint> {
    let at = |name| DateTime::from_timestamp_millis(number(item, name));
    Some(RequestCheckpoint {
        organization_id: text(item, ORGANIZATION)?.parse().ok()?,
        workspace_id: sort_key(item).parse().ok()?,
        counted_to: at(COUNTED_TO)?,
        touched_at: at(TOUCHED_AT)?,
    })
}
