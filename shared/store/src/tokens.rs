//! API tokens and keys. Each has two items: the one that requests are checked against, under the hash of its secret, and
//! the one that its owner lists and edits. While the secret of before a rotation is still good, there is one under its hash as
//! well. All hold the whole token and are written together.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use domain::audit::{Actor, AuditEntry, Caller};
use domain::ids::{AuditId, OrganizationId, TokenId, UserId, WorkspaceId};
use domain::page::{Page, PageRequest};
use domain::token::{Token, TokenAction, TokenHash, TokenKind, TokenState};
use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::item::{Item, NewItem, aws_error, entity, number, refused_by, revision, sent};
use crate::keys::{self, Index};
use crate::list::List;
use crate::totals::Total;
use crate::transaction::{Condition, stale};
use crate::{Store, Transaction};

/// How long a token's log is kept.
const AUDIT_KEPT_FOR: TimeDelta = TimeDelta::days(365);

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
    /// The token with this secret: the only read that names no tenant, since it is what tells the tenant.
    pub async fn token_by_hash(&self, hash: TokenHash) -> Result<Option<Token>> {
        let item = self
            .get_item(&self.tables.records, &keys::token_by_hash(hash))
            .await?;
        item.as_ref().map(read_token).transpose()
    }

    pub async fn token(&self, organization: OrganizationId, id: TokenId) -> Result<Option<Token>> {
        let token = self.token_or_tombstone(organization, id).await?;
        Ok(token.filter(|token| token.state != TokenState::Deleted))
    }

    /// Like [`Self::token`], also for one that was deleted: whose log may be read tells only the token.
    pub async fn token_or_tombstone(
        &self,
        organization: OrganizationId,
        id: TokenId,
    ) -> Result<Option<Token>> {
        let item = self
            .get_item(&self.tables.records, &keys::token(organization, id))
            .await?;
        item.as_ref().map(read_token).transpose()
    }

    /// A workspace's Prodgy tokens, or its keys of both other kinds, newest first.
    pub async fn tokens(
        &self,
        workspace: WorkspaceId,
        kind: TokenKind,
        page: &PageRequest,
    ) -> Result<Page<Token>> {
        let partition = keys::tokens_of(workspace, kind);
        let list = List {
            total: Total::Kept,
            ..List::of_index(&self.tables.records, Index::Children, partition)
        };
        self.page(&list, page, read_token).await
    }

    /// Creates a token. With `maker_revision`, only while its maker's membership is as it was read: a removal or demotion at
    /// the same time finds the token, or keeps it from being made.
    pub async fn create_token(
        &self,
        token: &Token,
        maker_revision: Option<u64>,
        log: &TokenAuditEntry,
        audit: &AuditEntry,
    ) -> Result<()> {
        let records = &self.tables.records;
        let exists_already = || Error::Conflict("the token exists already".to_owned());
        let mut transaction = self.transaction();
        transaction.create(records, lookup_item(token, token.hash), exists_already);
        transaction.create(records, owner_item(token), exists_already);
        transaction.count(&keys::tokens_of(token.workspace_id, token.kind), 1);
        if let Some(revision) = maker_revision {
            transaction.check_member(token.organization_id, token.user_id, revision);
        }
        transaction.token_audit(token.id, log);
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Replaces `seen`, as it was read, by `token`; the counts of its use go on. A secret that `seen` has and `token` has not is
    /// unknown from then on.
    pub async fn update_token(
        &self,
        seen: &Token,
        token: &Token,
        log: Option<&TokenAuditEntry>,
        audit: Option<&AuditEntry>,
    ) -> Result<()> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        let next = Token {
            revision: seen.revision + 1,
            ..token.clone()
        };
        let unchanged = || Condition::revision(seen.revision);
        transaction.change_owner_item(&next, unchanged());
        let known: Vec<TokenHash> = seen.hashes().collect();
        for hash in next.hashes() {
            let lookup = lookup_item(&next, hash);
            if known.contains(&hash) {
                transaction.change(records, lookup, &[], unchanged(), stale);
            } else {
                let lookup = lookup.map(|item| item.number("used_hour", seen.used_hour));
                transaction.create(records, lookup, stale);
            }
        }
        for old in known {
            if !next.hashes().any(|hash| hash == old) {
                transaction.delete(records, &keys::token_by_hash(old), Condition::none(), stale);
            }
        }
        if let Some(log) = log {
            transaction.token_audit(token.id, log);
        }
        if let Some(audit) = audit {
            transaction.audit(audit);
        }
        transaction.commit().await
    }

    /// Deletes a token. What is left under its id leads to its log.
    pub async fn delete_token(
        &self,
        token: &Token,
        log: Option<&TokenAuditEntry>,
        audit: &AuditEntry,
    ) -> Result<()> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        let tombstone = Token {
            state: TokenState::Deleted,
            ..token.clone()
        };
        let key = keys::token(token.organization_id, token.id);
        let tombstone = NewItem::new(key, "token_tombstone", &tombstone).map(|item| {
            item.number("revision", token.revision + 1)
                .expires(audit.created_at + AUDIT_KEPT_FOR)
        });
        transaction.put(
            records,
            tombstone,
            Condition::revision(token.revision),
            stale,
        );
        transaction.count(&keys::tokens_of(token.workspace_id, token.kind), -1);
        for hash in token.hashes() {
            let lookup = keys::token_by_hash(hash);
            transaction.delete(records, &lookup, Condition::none(), stale);
        }
        if let Some(log) = log {
            transaction.token_audit(token.id, log);
        }
        transaction.audit(audit);
        transaction.commit().await
    }

    /// All tokens that a user has made: for when the user's role changes or the user leaves.
    pub async fn tokens_of_user(
        &self,
        organization: OrganizationId,
        user: UserId,
    ) -> Result<Vec<Token>> {
        let items = self
            .collection(
                &self.tables.records,
                &keys::tokens_of_organization(organization),
                "",
                "",
            )
            .await?;
        let tokens = items.iter().map(read_token).collect::<Result<Vec<_>>>()?;
        Ok(tokens
            .into_iter()
            .filter(|token| token.user_id == user && token.state != TokenState::Deleted)
            .collect())
    }

    /// How many tokens and keys of a workspace are good, counted to 1,000.
    pub async fn good_tokens(&self, workspace: WorkspaceId, now: DateTime<Utc>) -> Result<u32> {
        let partition = keys::good_tokens(workspace);
        let list = List {
            from: Some(keys::good_after(now)),
            ..List::of_index(&self.tables.records, Index::Status, partition)
        };
        Ok(self.total(&list, true).await?.unwrap_or(0))
    }

    /// Counts one use of a token, whose `hash` is the one that it was looked up by. The first in an hour is logged in the same
    /// breath; while two secrets are good, that of each.
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
        match sent(update.send()).await {
            Ok(_) => Ok(()),
            Err(error) if refused_by(&error).is_some() => Ok(()),
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
    /// The counts of a token's use stay as they are.
    fn change_owner_item(&mut self, token: &Token, condition: Condition) {
        let records = self.store().tables.records.clone();
        let item = owner_item(token);
        // A token that does not stand in an index any more has to be taken out of it.
        let removed: Vec<&str> = [Index::Due, Index::Status]
            .into_iter()
            .filter(|index| {
                let item = item.as_ref().map(|item| &item.item);
                item.is_ok_and(|item| !item.contains_key(index.partition()))
            })
            .flat_map(|index| [index.partition(), index.sort()])
            .collect();
        self.change(&records, item, &removed, condition, stale);
    }

    fn token_audit(&mut self, token: TokenId, log: &TokenAuditEntry) {
        let logs = self.store().tables.logs.clone();
        self.overwrite(&logs, audit_item(token, log));
    }
}

fn audit_item(token: TokenId, log: &TokenAuditEntry) -> Result<NewItem> {
    let key = keys::log_row(keys::token_audit(token), log.id);
    Ok(NewItem::new(key, "token_audit", log)?.expires(log.created_at + AUDIT_KEPT_FOR))
}

fn lookup_item(token: &Token, hash: TokenHash) -> Result<NewItem> {
    Ok(
        NewItem::new(keys::token_by_hash(hash), "token_lookup", token)?
            .number("revision", token.revision),
    )
}

fn owner_item(token: &Token) -> Result<NewItem> {
    // A token that can still run out is in the due index, so that somebody notices when it does.
    let due = token
        .expires_at
        .filter(|_| token.state != TokenState::Revoked && !token.expiry_recorded)
        .map(|at| keys::due(at, "token", token.organization_id, token.id));
    let good = (token.state == TokenState::Active)
        .then(|| keys::good_token(token.workspace_id, token.expires_at, token.id));
    let item = NewItem::new(keys::token(token.organization_id, token.id), "token", token)?
        .indexed(keys::token_in_workspace(
            token.workspace_id,
            token.kind,
            token.id,
        ))
        .indexed_if(due)
        .indexed_if(good)
        .number("revision", token.revision);
    Ok(item)
}

fn read_token(item: &Item) -> Result<Token> {
    let token: Token = entity(item)?;
    Ok(Token {
        revision: revision(item),
        used_hour: number(item, "used_hour"),
        usage_count: u64::try_from(number(item, "usage_count")).unwrap_or(0),
        last_used_at: DateTime::from_timestamp_millis(number(item, "last_used_at"))
            .filter(|at| at.timestamp_millis() > 0),
        ..token
    })
}
