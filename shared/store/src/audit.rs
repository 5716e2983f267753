//! The audit log of a workspace, and that of an organization, which is read together with those of its workspaces.

use chrono::{DateTime, Datelike, Months, NaiveTime, TimeDelta, Utc};
use domain::Result;
use domain::audit::AuditEntry;
use domain::ids::{AuditId, OrganizationId, WorkspaceId};
use domain::page::{Cursor, Page, PageRequest};

use crate::item::{NewItem, entity};
use crate::list::List;
use crate::{Store, Transaction, keys};

/// The time that the log is kept.
const KEPT_FOR: TimeDelta = TimeDelta::days(365);

/// The most rows that one request looks at.
const MAX_EXAMINED: usize = 1_000;

/// The filter of entries.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// This action, or all of a resource for `agent.*`.
    pub action: Option<String>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

impl AuditFilter {
    fn admits(&self, entry: &AuditEntry) -> bool {
        self.action
            .as_deref()
            .is_none_or(|action| match action.strip_suffix('*') {
                Some(prefix) => entry.action.starts_with(prefix),
                None => entry.action == action,
            })
    }
}

impl Store {
    /// A workspace's log, newest first, read month by month until the page is full; together with what concerned the whole
    /// `organization` where that is named.
    ///
    /// One request looks at 1,000 rows at most. A filter that lets few of them pass gives a short page, or an empty one, with
    /// a cursor to go on from.
    pub async fn audit_log(
        &self,
        workspace: WorkspaceId,
        organization: Option<OrganizationId>,
        filter: &AuditFilter,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<AuditEntry>> {
        let cursor = page
            .cursor
            .as_ref()
            .map(Cursor::id::<AuditId>)
            .transpose()?;
        let newest = [Some(now), filter.to, cursor.map(AuditId::created_at)];
        let newest = newest.into_iter().flatten().min().unwrap_or(now);
        let begins = organization.map_or(workspace.created_at(), OrganizationId::created_at);
        let oldest = filter
            .from
            .unwrap_or(DateTime::UNIX_EPOCH)
            .max(now - KEPT_FOR)
            .max(begins);

        let wanted = page.limit.get() as usize;
        let mut reading = Reading {
            found: Vec::new(),
            examined: 0,
            last: cursor.map(|cursor| cursor.to_string()),
        };
        // A row may be from a machine whose clock is ahead.
        let mut month = start_of_month(newest + TimeDelta::hours(1));
        while month + Months::new(1) > oldest {
            let list = List {
                partitions: keys::audit_month(workspace, month)
                    .chain(organization.map(|id| keys::organization_audit_month(id, month)))
                    .collect(),
                from: filter.from.map(|from| AuditId::first_at(from).to_string()),
                to: filter.to.map(|to| AuditId::first_at(to).to_string()),
                ..List::new(&self.tables.logs, String::new())
            };
            loop {
                let request = PageRequest {
                    cursor: reading.last.clone().map(Cursor::from),
                    ..PageRequest::first(page.limit.get().max(50))
                };
                let rows = self.page(&list, &request, entity::<AuditEntry>).await?;
                if reading.take(rows.items, filter, wanted) {
                    let next_cursor = reading.last;
                    return Ok(Page {
                        items: reading.found,
                        next_cursor,
                        total: None,
                    });
                }
                // Also past rows that cannot be read.
                match rows.next_cursor {
                    Some(next) => reading.last = Some(next),
                    None => break,
                }
            }
            month = month - Months::new(1);
        }
        Ok(Page {
            items: reading.found,
            next_cursor: None,
            total: None,
        })
    }
}

/// The progress of a request through the log.
struct Reading {
    found: Vec<AuditEntry>,
    examined: usize,
    /// The last row looked at.
    last: Option<String>,
}

impl Reading {
    /// Looks at more rows; `true` once this is enough for one request.
    fn take(&mut self, rows: Vec<AuditEntry>, filter: &AuditFilter, wanted: usize) -> bool {
        for entry in rows {
            if self.found.len() == wanted || self.examined == MAX_EXAMINED {
                return true;
            }
            self.examined += 1;
            self.last = Some(entry.id.to_string());
            if filter.admits(&entry) {
                self.found.push(entry);
            }
        }
        false
    }
}

impl Transaction<'_> {
    /// Tells what this transaction does.
    pub fn audit(&mut self, entry: &AuditEntry) {
        let logs = self.store().tables.logs.clone();
        let key = if entry.concerns_all {
            let month = keys::organization_audit_month(entry.organization_id, entry.created_at);
            keys::log_row(month, entry.id)
        } else {
            keys::audit_row(entry.workspace_id, entry.id, entry.created_at)
        };
        let item =
            NewItem::new(key, "audit", entry).map(|item| item.expires(entry.created_at + KEPT_FOR));
        self.overwrite(&logs, item);
    }
}

pub(crate) fn start_of_month(time: DateTime<Utc>) -> DateTime<Utc> {
    time.date_naive()
        .with_day(1)
        .unwrap_or_default()
        .and_time(NaiveTime::MIN)
        .and_utc()
}
