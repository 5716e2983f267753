//! What is done with a token: its audit log, and the count of its uses.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use domain::audit::{Actor, Caller};
use domain::ids::{AuditId, TokenId};
use domain::page::{Page, PageRequest};
use domain::token::{Token, TokenAction};
use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::item::{NewItem, aws_error, boxed, condition_failure, entity};
use crate::keys::{self, Index};
use crate::list::List;
use crate::list::Total;
use crate::transaction::Condition;
use crate::{Store, Transaction};

/// How long a token's log is kept.
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
    /// Counts one use of a token, whose `hash` is the one that it was looked up by. The first in an hour is logged in the same
    /// transaction; while two secrets are good, the first use of each is.
    pub async fn record_use(
        &self,
        token: &Token,
        log: &TokenAuditEntry,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let hour = now.timestamp().div_euclid(3600);
        if token.used_hour < hour {
            match self.record_first_use(token, hour, log, now).await {
                Err(Error::Conflict(_)) => {}
                outcome => return outcome,
            }
        }
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(
                keys::token(token.organization_id, token.id).attributes(),
            ))
            .update_expression("ADD usage_count :one SET last_used_at = :now")
            // Else a use that races with a deletion would leave half a token behind.
            .condition_expression(format!("attribute_exists({})", Index::Children.partition()))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(
                ":now",
                AttributeValue::N(now.timestamp_millis().to_string()),
            );
        match boxed(update.send()).await {
            Ok(_) => Ok(()),
            Err(error) if condition_failure(&error).is_some() => Ok(()),
            Err(error) => Err(aws_error(error)),
        }
    }

    /// `Conflict` when another use of this hour was first, or the token was changed or deleted meanwhile.
    async fn record_first_use(
        &self,
        token: &Token,
        hour: i64,
        log: &TokenAuditEntry,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let records = &self.tables.records;
        let late = || Error::Conflict("the use is logged already".to_owned());
        let mut transaction = self.transaction();
        let first = Condition::that(format!(
            "attribute_exists({}) AND (attribute_not_exists(used_hour) OR used_hour < :hour)",
            keys::PARTITION
        ));
        let lookup = keys::token_by_hash(token.hash);
        transaction.update(
            records,
            &lookup,
            "SET used_hour = :hour",
            first.number(":hour", hour),
            late,
        );
        let counted = Condition::exists()
            .number(":one", 1)
            .number(":hour", hour)
            .number(":now", now.timestamp_millis());
        let owner = keys::token(token.organization_id, token.id);
        let expression = "ADD usage_count :one SET last_used_at = :now, used_hour = :hour";
        transaction.update(records, &owner, expression, counted, late);
        transaction.token_audit(token.id, log);
        transaction.commit().await
    }

    /// A token's log, newest first.
    pub async fn token_audit_log(
        &self,
        token: TokenId,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<TokenAuditEntry>> {
        let list = List {
            total: Total::Growing(now),
            ..List::new(&self.tables.logs, keys::token_audit(token))
        };
        self.page(&list, page, entity).await
    }
}

impl Transaction<'_> {
    pub(crate) fn token_audit(&mut self, token: TokenId, log: &TokenAuditEntry) {
        let logs = self.store().tables.logs.clone();
        self.overwrite(&logs, audit_item(token, log));
    }
}

fn audit_item(token: TokenId, log: &TokenAuditEntry) -> Result<NewItem> {
    let key = keys::log_row(keys::token_audit(token), log.id);
    Ok(NewItem::new(key, "token_audit", log)?.expires(log.created_at + KEPT_FOR))
}
