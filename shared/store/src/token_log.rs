//! The audit log of a token.

use chrono::{DateTime, TimeDelta, Utc};
use domain::audit::{Actor, Caller};
use domain::ids::{AuditId, OrganizationId, TokenId};
use domain::page::{Page, PageRequest};
use domain::token::{Token, TokenAction};
use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::attributes::{LAST_USED_AT, USED_HOUR};
use crate::item::{NewItem, entity};
use crate::keys;
use crate::list::List;
use crate::list::Total;
use crate::transaction::Condition;
use crate::{Store, Transaction};

/// The time that a token's log is kept.
pub(crate) const KEPT_FOR: TimeDelta = TimeDelta::days(365);

/// One row of a token's audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenAuditEntry {
    pub id: AuditId,
    pub action: TokenAction,
    pub actor: Actor,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl TokenAuditEntry {
    pub fn new(action: TokenAction, caller: &Caller, now: DateTime<Utc>) -> Self {
        Self {
            id: AuditId::new(now),
            action,
            actor: caller.actor,
            ip: caller.ip.clone(),
            user_agent: caller.user_agent.clone(),
            created_at: now,
        }
    }
}

impl Store {
    /// Logs the first use of a token in an hour; while two secrets are good, the first use of each. The token's `hash` is the one that
    /// it was looked up by. A use that is logged already, or whose token was changed or deleted meanwhile, is left out.
    pub async fn record_first_use(
        &self,
        token: &Token,
        log: &TokenAuditEntry,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let records = &self.tables.records;
        let hour = Token::hour(now);
        let late = || Error::Conflict("the use is logged already".to_owned());
        let mut transaction = self.transaction();
        let first = Condition::that(format!(
            "attribute_exists({}) AND (attribute_not_exists({USED_HOUR}) OR {USED_HOUR} < :hour)",
            keys::PARTITION
        ));
        let lookup = keys::token_by_hash(token.hash);
        transaction.update(
            records,
            &lookup,
            format!("SET {USED_HOUR} = :hour"),
            first.number(":hour", hour),
            late,
        );
        let used = Condition::exists()
            .number(":hour", hour)
            .number(":now", now.timestamp_millis());
        let owner = keys::token(token.organization_id, token.id);
        let expression = format!("SET {LAST_USED_AT} = :now, {USED_HOUR} = :hour");
        transaction.update(records, &owner, expression, used, late);
        transaction.token_audit(token, log);
        match transaction.commit().await {
            Err(Error::Conflict(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// A token's log, newest first.
    pub async fn token_audit_log(
        &self,
        organization: OrganizationId,
        token: TokenId,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<TokenAuditEntry>> {
        let list = List {
            total: Total::Growing(now),
            ..List::new(&self.tables.logs, keys::token_audit(organization, token))
        };
        self.page(&list, page, entity).await
    }
}

impl Transaction<'_> {
    pub(crate) fn token_audit(&mut self, token: &Token, log: &TokenAuditEntry) {
        let logs = self.store().tables.logs.clone();
        self.overwrite(&logs, audit_item(token, log));
    }
}

fn audit_item(token: &Token, log: &TokenAuditEntry) -> Result<NewItem> {
    let key = keys::log_row(keys::token_audit(token.organization_id, token.id), log.id);
    Ok(NewItem::new(key, "token_audit", log)?.expires(log.created_at + KEPT_FOR))
}
