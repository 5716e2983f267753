//! The audit log of an organization.

use chrono::{DateTime, Datelike, Months, NaiveTime, TimeDelta, Utc};
use domain::audit::AuditEntry;
use domain::ids::{AuditId, OrganizationId, WorkspaceId};
use domain::page::{Page, PageRequest};
use domain::{Error, Result};

use crate::item::{List, NewItem, entity};
use crate::{Store, Transaction, keys};

/// How long the log is kept.
const KEPT_FOR: TimeDelta = TimeDelta::days(365);

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// This action, or all of a resource for `agent.*`.
    pub action: Option<String>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
    /// Only this workspace's entries.
    pub workspace: Option<WorkspaceId>,
}

impl AuditFilter {
    fn admits(&self, entry: &AuditEntry) -> bool {
        let action = self
            .action
            .as_deref()
            .is_none_or(|action| match action.strip_suffix('*') {
                Some(prefix) => entry.action.starts_with(prefix),
                None => entry.action == action,
            });
        action
            && self
                .workspace
                .is_none_or(|workspace| entry.workspace_id == workspace)
    }
}

impl Store {
    /// The log, newest first, read month by month until the page is full.
    pub async fn audit_log(
        &self,
        organization: OrganizationId,
        filter: &AuditFilter,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<AuditEntry>> {
        let cursor = page
            .cursor
            .as_deref()
            .map(str::parse::<AuditId>)
            .transpose()
            .map_err(|_| Error::Malformed("cursor: is not one of ours".to_owned()))?;
        let newest = [
            Some(now + TimeDelta::days(1)),
            filter.to,
            cursor.map(AuditId::created_at),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now);
        let oldest = filter
            .from
            .unwrap_or(DateTime::UNIX_EPOCH)
            .max(now - KEPT_FOR)
            .max(organization.created_at());

        let wanted = page.limit.get() as usize;
        let mut found: Vec<AuditEntry> = Vec::new();
        let mut month = start_of_month(newest);
        while month + Months::new(1) > oldest && found.len() <= wanted {
            let mut list = List::new(&self.tables.logs, keys::audit_month(organization, month));
            list.from = filter.from.map(|from| AuditId::first_at(from).to_string());
            list.to = filter.to.map(|to| AuditId::first_at(to).to_string());
            let mut request = PageRequest {
                cursor: page.cursor.clone(),
                ..PageRequest::first(page.limit.get().max(50))
            };
            loop {
                let rows = self
                    .page(&list, &request, entity::<AuditEntry>, |entry| {
                        entry.id.to_string()
                    })
                    .await?;
                found.extend(rows.items.into_iter().filter(|entry| filter.admits(entry)));
                match rows.next_cursor {
                    Some(next) if found.len() <= wanted => request.cursor = Some(next),
                    _ => break,
                }
            }
            month = month - Months::new(1);
        }
        let more = found.len() > wanted;
        found.truncate(wanted);
        let next_cursor = if more {
            found.last().map(|entry| entry.id.to_string())
        } else {
            None
        };
        Ok(Page {
            items: found,
            next_cursor,
            total: None,
        })
    }
}

impl Transaction<'_> {
    /// Tells what this transaction does.
    pub fn audit(&mut self, entry: &AuditEntry) {
        let logs = self.store().tables.logs.clone();
        let key = keys::log_row(
            keys::audit_month(entry.organization_id, entry.created_at),
            entry.id,
        );
        let item =
            NewItem::new(key, "audit", entry).map(|item| item.expires(entry.created_at + KEPT_FOR));
        self.overwrite(&logs, item);
    }
}

fn start_of_month(time: DateTime<Utc>) -> DateTime<Utc> {
    time.date_naive()
        .with_day(1)
        .unwrap_or_default()
        .and_time(NaiveTime::MIN)
        .and_utc()
}
