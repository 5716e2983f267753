//! The request log of a workspace: a row for each request, a day to a partition, and counts by day beside them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use chrono::{DateTime, NaiveDate, Utc};
use domain::Result;
use domain::activity::{ActivityCount, RequestLogEntry};
use domain::ids::{ActivityId, OrganizationId, ProjectId, TokenId, WorkspaceId};
use domain::page::{Cursor, MAX_OFFSET, Page, PageRequest};
use futures::future::{OptionFuture, join, try_join, try_join_all};

use crate::Store;
use crate::attributes::{DURATION_MICROS, REQUESTS};
use crate::aws_calls::{Call, aws_error};
use crate::item::{NewItem, entity, number, sort_key};
use crate::keys::{self, ACTIVITY_SHARDS, usage_day};
use crate::list::List;
use crate::request_counts::{self, AHEAD, KEPT_FOR};

/// The most rows that one request looks at: as far as an offset reaches, and a page behind it.
const MAX_EXAMINED: u32 = MAX_OFFSET + 200;

/// The filter of requests.
#[derive(Clone, Debug, Default)]
pub struct ActivityFilter {
    pub key_id: Option<TokenId>,
    pub project_id: Option<ProjectId>,
    /// In upper case.
    pub method: Option<String>,
    /// From the first to the last status, both included.
    pub status: Option<(u16, u16)>,
    /// At or after.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
}

impl ActivityFilter {
    fn admits(&self, row: &RequestLogEntry) -> bool {
        self.key_id.is_none_or(|key| key == row.key_id)
            && self.project_id.is_none_or(|id| row.project_id == Some(id))
            && self
                .method
                .as_ref()
                .is_none_or(|method| *method == row.method)
            && self
                .status
                .is_none_or(|(first, last)| (first..=last).contains(&row.status))
    }

    /// Returns `true` if every request passes.
    fn admits_all(&self) -> bool {
        self.key_id.is_none()
            && self.project_id.is_none()
            && self.method.is_none()
            && self.status.is_none()
            && self.from.is_none()
            && self.to.is_none()
    }
}

/// The days with requests, and how many there were.
type Days = BTreeMap<NaiveDate, ActivityCount>;

impl Store {
    /// Writes a row of the request log, for the tick to count. A request that took long stands where it ended. `organization`: the key's.
    pub async fn record_activity(
        &self,
        row: RequestLogEntry,
        organization: OrganizationId,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let row = RequestLogEntry {
            id: request_counts::row_id(&row, now),
            counted_by_tick: true,
            ..row
        };
        let day = row.id.created_at().date_naive();
        let key = keys::log_row(keys::activity_day(row.workspace_id, day), row.id);
        let item = NewItem::new(key, "activity", &row)?.expires(row.created_at + KEPT_FOR);
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.logs)
            .set_item(Some(item.item));
        let touched = self.touch_checkpoint(&row, organization, now);
        // Each is worth having without the other.
        let (put, touched) = join(put.sent(), touched).await;
        put.map_err(aws_error)?;
        touched
    }

    /// The number of requests that a workspace's keys made on each of the days that are kept; days without any are left out. Of what
    /// the tick has not counted yet, the first 1,000 requests are included.
    pub async fn activity_counts(
        &self,
        workspace: WorkspaceId,
        now: DateTime<Utc>,
    ) -> Result<Days> {
        let (mut days, counted_to) = self.kept_counts(workspace, now).await?;
        let uncounted = self.uncounted(workspace, counted_to, now).await?;
        for row in uncounted {
            let day = row.id.created_at().date_naive();
            *days.entry(day).or_default() += ActivityCount::of(&row);
        }
        Ok(days)
    }

    /// The counts by day, and up to when the tick has counted.
    async fn kept_counts(
        &self,
        workspace: WorkspaceId,
        now: DateTime<Utc>,
    ) -> Result<(Days, DateTime<Utc>)> {
        let first = usage_day((now - KEPT_FOR).date_naive());
        let last = usage_day((now + AHEAD).date_naive());
        let partitions: Vec<String> = (0..ACTIVITY_SHARDS)
            .map(|shard| keys::activity_count_shard(workspace, shard))
            .collect();
        let shards = partitions
            .iter()
            .map(|partition| self.collection(&self.tables.logs, partition, &first, &last));
        let checkpoint = self.counted_to(workspace);
        let (shards, checkpoint) = try_join(try_join_all(shards), checkpoint).await?;
        let mut days = Days::new();
        let mut counted_to = None;
        for item in shards.into_iter().flatten() {
            let Ok(day) = sort_key(&item).parse() else {
                continue;
            };
            counted_to = counted_to.max(request_counts::counted_to(&item));
            *days.entry(day).or_default() += ActivityCount {
                requests: u64::try_from(number(&item, REQUESTS)).unwrap_or(0),
                duration_micros: u64::try_from(number(&item, DURATION_MICROS)).unwrap_or(0),
            };
        }
        Ok((
            days,
            request_counts::latest_count(counted_to, checkpoint, now),
        ))
    }

    /// A workspace's requests, newest first, read day by day until the page is full.
    ///
    /// One request looks at 1,200 rows at most. A filter that lets few of them pass gives a short page, or an empty one, with
    /// a cursor to go on from. The total is exact to 1,000 without a filter; with one it is counted among the newest 1,000.
    pub async fn activity(
        &self,
        workspace: WorkspaceId,
        filter: &ActivityFilter,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<RequestLogEntry>> {
        let cursor = page
            .cursor
            .as_ref()
            .map(Cursor::id::<ActivityId>)
            .transpose()?;
        // Days without a request need not be asked for. Those that are not counted yet are asked for anyway.
        let (mut days, counted_to) = self.kept_counts(workspace, now).await?;
        let mut all: u64 = days.values().map(|count| count.requests).sum();
        if page.wants_total && filter.admits_all() && all < u64::from(MAX_OFFSET) {
            let uncounted = self.uncounted(workspace, counted_to, now).await?;
            all += u64::try_from(uncounted.len()).unwrap_or(u64::MAX);
        }
        for day in request_counts::uncounted_days(counted_to, now) {
            days.entry(day).or_default();
        }
        let walk = Walk {
            store: self,
            workspace,
            filter,
            days,
        };
        let counted =
            OptionFuture::from((page.wants_total && !filter.admits_all()).then(|| walk.total()));
        let (mut found, counted) =
            try_join(walk.page(cursor, page), async { counted.await.transpose() }).await?;
        found.total = page.wants_total.then(|| match counted {
            Some(counted) => counted,
            None => u32::try_from(all).unwrap_or(MAX_OFFSET).min(MAX_OFFSET),
        });
        Ok(found)
    }
}

/// A way through the log, from the newest row to the oldest.
struct Walk<'a> {
    store: &'a Store,
    workspace: WorkspaceId,
    filter: &'a ActivityFilter,
    days: Days,
}

impl Walk<'_> {
    /// Shows `visit` the rows behind `cursor`, wanted or not, until it has enough.
    async fn rows(
        &self,
        cursor: Option<ActivityId>,
        mut visit: impl FnMut(RequestLogEntry) -> ControlFlow<()> + Send,
    ) -> Result<()> {
        let newest = [self.filter.to, cursor.map(ActivityId::created_at)];
        let newest = newest.into_iter().flatten().min();
        let last = newest.map_or(NaiveDate::MAX, |time| time.date_naive());
        let first = self
            .filter
            .from
            .map_or(NaiveDate::MIN, |from| from.date_naive());
        if first > last {
            return Ok(());
        }
        let mut seen = cursor.map(|cursor| cursor.to_string());
        for day in self.days.range(first..=last).rev().map(|(day, _)| *day) {
            let partition = keys::activity_day(self.workspace, day);
            let mut list = List::new(&self.store.tables.logs, partition);
            let bound = |time: DateTime<Utc>| ActivityId::first_at(time).to_string();
            list.from = self.filter.from.map(bound);
            list.to = self.filter.to.map(bound);
            loop {
                let request = PageRequest {
                    cursor: seen.clone().map(Cursor::from),
                    ..PageRequest::first(250)
                };
                let rows = self
                    .store
                    .page(&list, &request, entity::<RequestLogEntry>)
                    .await?;
                for row in rows.items {
                    seen = Some(row.id.to_string());
                    if visit(row).is_break() {
                        return Ok(());
                    }
                }
                // Also past rows that cannot be read.
                match rows.next_cursor {
                    Some(next) => seen = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    async fn page(
        &self,
        cursor: Option<ActivityId>,
        request: &PageRequest,
    ) -> Result<Page<RequestLogEntry>> {
        let wanted = request.limit.get() as usize;
        let (mut skip, mut examined) = (request.offset, 0);
        let mut items = Vec::new();
        let (mut last, mut more) = (None, false);
        self.rows(cursor, |row| {
            if examined == MAX_EXAMINED {
                more = true;
                return ControlFlow::Break(());
            }
            examined += 1;
            let wants = self.filter.admits(&row);
            if wants && items.len() == wanted {
                more = true;
                return ControlFlow::Break(());
            }
            if items.len() < wanted {
                last = Some(row.id.to_string());
            }
            match (wants, skip) {
                (false, _) => {}
                (true, 0) => items.push(row),
                (true, _) => skip -= 1,
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(Page {
            items,
            next_cursor: last.filter(|_| more),
            total: None,
        })
    }

    async fn total(&self) -> Result<u32> {
        let (mut examined, mut total) = (0, 0);
        self.rows(None, |row| {
            examined += 1;
            total += u32::from(self.filter.admits(&row));
            if examined == MAX_OFFSET {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(total)
    }
}
