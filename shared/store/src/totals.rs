//! The number of rows of a list. What is shown without a filter is kept; with one, keys are counted, 1,000 at most.

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::ids::AuditId;
use domain::page::MAX_OFFSET;
use futures::future::{try_join, try_join_all};

use crate::Store;
use crate::attributes::{COUNTED_TO, EXPIRES, ROW_COUNT, TYPE};
use crate::aws_calls::{Call, aws_error};
use crate::item::number;
use crate::keys;
use crate::list::{List, Total};

/// The age of a row from which no older one can still come: ids are made from the time of what they stand for.
const SETTLED_AFTER: TimeDelta = TimeDelta::minutes(10);
/// From how many rows on it is worth keeping that they were counted.
const WORTH_KEEPING: u32 = 100;
/// The time that a count is kept of a list whose oldest rows may expire.
const KEPT_FOR: TimeDelta = TimeDelta::days(1);

impl Store {
    pub(crate) async fn total(&self, list: &List<'_>, wanted: bool) -> Result<Option<u32>> {
        if !wanted {
            return Ok(None);
        }
        let total = match (list.total, &list.partitions[..]) {
            (Total::Kept, [partition]) => {
                let total = self.kept_total(partition).await?;
                u32::try_from(total).unwrap_or(MAX_OFFSET)
            }
            (Total::Growing(now), [partition]) => self.grown_total(list, partition, now).await?,
            (_, partitions) => {
                let counts = partitions
                    .iter()
                    .map(|partition| self.counted(list, partition, MAX_OFFSET));
                try_join_all(counts).await?.into_iter().sum()
            }
        };
        Ok(Some(total.min(MAX_OFFSET)))
    }

    /// The number of rows of a list whose total is written with them.
    pub(crate) async fn kept_total(&self, partition: &str) -> Result<u64> {
        let key = keys::total(partition);
        let item = self.get_item(&self.tables.records, &key).await?;
        let count = item.map_or(0, |item| number(&item, ROW_COUNT));
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn grown_total(
        &self,
        list: &List<'_>,
        partition: &str,
        now: DateTime<Utc>,
    ) -> Result<u32> {
        let item = self
            .get_item(&self.tables.records, &keys::total(partition))
            .await?;
        let kept = item.filter(|item| number(item, EXPIRES) > now.timestamp());
        let kept = kept.map(|item| (number(&item, ROW_COUNT), number(&item, COUNTED_TO)));
        let (before, counted_to) = kept.unwrap_or_default();
        let before = u32::try_from(before).unwrap_or(0);
        if before >= MAX_OFFSET {
            return Ok(MAX_OFFSET);
        }
        let first_at = |time| AuditId::first_at(time).to_string();
        let settled = now - SETTLED_AFTER;
        let counted_to = DateTime::from_timestamp_millis(counted_to).unwrap_or_default();
        let old = List {
            from: Some(first_at(counted_to.min(settled))),
            to: Some(first_at(settled)),
            ..list.clone()
        };
        let young = List {
            from: Some(first_at(settled)),
            ..list.clone()
        };
        let (old, young) = try_join(
            self.counted(&old, partition, MAX_OFFSET - before),
            self.counted(&young, partition, MAX_OFFSET - before),
        )
        .await?;
        if old >= WORTH_KEEPING || before + old >= MAX_OFFSET {
            self.keep_total(partition, before + old, settled, now).await;
        }
        Ok(before + old + young)
    }

    /// Keeps a count for the next time, as far as that goes.
    async fn keep_total(&self, list: &str, rows: u32, to: DateTime<Utc>, now: DateTime<Utc>) {
        let count = |value: i64| AttributeValue::N(value.to_string());
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .set_item(Some(keys::total(list).attributes()))
            .item(TYPE, AttributeValue::S("total".to_owned()))
            .item(ROW_COUNT, count(rows.into()))
            .item(COUNTED_TO, count(to.timestamp_millis()))
            .item(EXPIRES, count((now + KEPT_FOR).timestamp()));
        if let Err(error) = put.sent().await.map_err(aws_error) {
            tracing::warn!(%error, "a total was not kept");
        }
    }

    /// The number of rows that a list has in one of its partitions, counted to `most`.
    async fn counted(&self, list: &List<'_>, partition: &str, most: u32) -> Result<u32> {
        let mut total = 0;
        let mut start = None;
        while total < most {
            let Some(query) = self.query(list, partition, None) else {
                return Ok(0);
            };
            let query = query
                .select(Select::Count)
                .limit(i32::try_from(most - total).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            let output = query.sent().await.map_err(aws_error)?;
            total += u32::try_from(output.count).unwrap_or(0);
            start = output.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        Ok(total)
    }
}
