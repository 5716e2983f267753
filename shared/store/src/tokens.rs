//! API tokens and keys. Each has two items: the one that requests are checked against, under the hash of its secret, and
//! the one that its owner lists and edits. While the secret of before a rotation is still good, there is one under its hash as
//! well. All hold the whole token and are written together.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::audit::AuditEntry;
use domain::identity::Member;
use domain::ids::{OrganizationId, TokenId, UserId, WorkspaceId};
use domain::page::{Page, PageRequest};
use domain::token::{Token, TokenHash, TokenKind, TokenState};
use domain::{Error, Result};
use futures::future::try_join_all;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::attributes::{LAST_USED_AT, REVISION, USAGE_COUNT, USED_HOUR};
use crate::item::{Item, NewItem, entity, number, readable, revision};
use crate::keys::{self, Index};
use crate::list::List;
use crate::list::Total;
use crate::token_log::{self, TokenAuditEntry};
use crate::token_places::is_taken;
use crate::transaction::{Condition, stale};
use crate::{Store, Transaction};

/// The number of times that a place is looked for that others take first.
const PLACE_ATTEMPTS: u32 = 100;
/// The number of times that a creation is tried again that DynamoDB had no time for.
const CREATE_ATTEMPTS: u32 = 4;
/// The number of tokens of a maker that are read side by side.
const READ_AT_ONCE: usize = 25;

/// Leads from a user to a token that the user has made.
#[derive(Serialize, Deserialize)]
struct MadeToken {
    organization_id: OrganizationId,
    token_id: TokenId,
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

    /// The number of tokens and keys of a workspace that are good now.
    pub async fn good_tokens(&self, workspace: WorkspaceId, now: DateTime<Utc>) -> Result<u32> {
        let partition = keys::good_tokens(workspace);
        let list = List {
            from: Some(keys::good_after(now)),
            ..List::of_index(&self.tables.records, Index::Status, partition)
        };
        Ok(self.total(&list, true).await?.unwrap_or(0))
    }

    /// Creates a token, in a place of its workspace, and gives it as it is stored; not in a workspace that was deleted. With
    /// `maker_revision`, only while its maker's membership is as it was read: a removal or demotion at the same time finds the
    /// token, or keeps it from being made.
    ///
    /// # Errors
    /// `Conflict` when there is a token of this id; `LimitReached` when the workspace has no place for it.
    pub async fn create_token(
        &self,
        token: &Token,
        maker_revision: Option<u64>,
        log: &TokenAuditEntry,
        audit: &AuditEntry,
    ) -> Result<Token> {
        let (mut attempt, mut failures) = (1, 0);
        loop {
            let created = self.try_to_create_token(token, maker_revision, log, audit);
            match created.await {
                Err(error) if is_taken(&error) && attempt < PLACE_ATTEMPTS => {}
                // Many at once keep each other waiting. Whether it got through shows the next attempt.
                Err(error) if error.is_retryable() && failures < CREATE_ATTEMPTS => {
                    failures += 1;
                    let wait = rand::rng().random_range(50..=200 << failures);
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
                Err(conflict @ Error::Conflict(_)) if failures > 0 => {
                    let made = self.token(token.organization_id, token.id).await?;
                    let made = made.filter(|made| made.hash == token.hash);
                    return made.ok_or(conflict);
                }
                outcome => return outcome,
            }
            attempt += 1;
        }
    }

    async fn try_to_create_token(
        &self,
        token: &Token,
        maker_revision: Option<u64>,
        log: &TokenAuditEntry,
        audit: &AuditEntry,
    ) -> Result<Token> {
        let records = &self.tables.records;
        let exists_already = || Error::Conflict("the token exists already".to_owned());
        let now = token.created_at;
        let place = self.place_for(token.workspace_id, token.id, now).await?;
        let placed = Token {
            place: Some(place),
            ..token.clone()
        };
        let mut transaction = self.transaction();
        transaction.create(records, lookup_item(&placed, placed.hash), exists_already);
        transaction.create(records, owner_item(&placed), exists_already);
        transaction.check_workspace(token.organization_id, token.workspace_id);
        transaction.count(&keys::tokens_of(token.workspace_id, token.kind), 1);
        transaction.find_by_maker(&placed);
        transaction.hold_place(&placed, now);
        if let Some(revision) = maker_revision {
            let home = token.maker_organization_id.unwrap_or(token.organization_id);
            transaction.check_member(home, token.user_id, revision);
        }
        transaction.token_audit(token, log);
        transaction.audit(audit);
        transaction.commit().await.map(|()| placed)
    }

    /// Replaces `seen`, as it was read, by `token`; the counts of its use go on. A secret that `seen` has and `token` has not is
    /// unknown from then on. A token that is revoked gives its place back; one whose expiry changes needs one.
    ///
    /// # Errors
    /// `Conflict` when it was changed since; `LimitReached` when one that had run out finds no place any more.
    pub async fn update_token(
        &self,
        seen: &Token,
        token: &Token,
        log: Option<&TokenAuditEntry>,
        audit: Option<&AuditEntry>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut next = Token {
            revision: seen.revision + 1,
            ..token.clone()
        };
        let ends = next.state == TokenState::Revoked && seen.state != TokenState::Revoked;
        let is_renewed = next.expires_at != seen.expires_at && seen.place.is_some() && !ends;
        let mut attempt = 1;
        let mut place_is_lost = false;
        loop {
            if is_renewed {
                let place = self.place_for(next.workspace_id, next.id, now).await?;
                next.place = Some(place);
            }
            let mut transaction = self.transaction();
            transaction.replace_token(seen, &next);
            if is_renewed {
                transaction.hold_place(&next, now);
            }
            if ends {
                transaction.forget_maker(seen);
                if !place_is_lost {
                    transaction.free_place(seen);
                }
            }
            if let Some(log) = log {
                transaction.token_audit(token, log);
            }
            if let Some(audit) = audit {
                transaction.audit(audit);
            }
            match transaction.commit().await {
                Err(error) if is_taken(&error) && attempt < PLACE_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
            // It had run out, so that another token could take its place.
            place_is_lost = true;
        }
    }

    /// Brings a token from before up to date, as [`Token::follow`] says of `maker`.
    ///
    /// # Errors
    /// `Conflict` when the token or its maker was changed since they were read.
    pub async fn adopt_token(
        &self,
        seen: &Token,
        token: &Token,
        maker: Option<&Member>,
        log: Option<&TokenAuditEntry>,
        audit: &AuditEntry,
    ) -> Result<()> {
        let next = Token {
            revision: seen.revision + 1,
            ..token.clone()
        };
        let mut transaction = self.transaction();
        transaction.replace_token(seen, &next);
        if let Some(maker) = maker {
            let records = self.tables.records.clone();
            let key = keys::member(maker.organization_id, maker.user_id);
            let unchanged = Condition::revision(maker.revision);
            transaction.check(&records, &key, unchanged, stale);
        }
        if next.state != TokenState::Revoked {
            transaction.find_by_maker(&next);
        }
        if let Some(log) = log {
            transaction.token_audit(token, log);
        }
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Deletes a token. What is left under its id leads to its log.
    pub async fn delete_token(
        &self,
        token: &Token,
        log: Option<&TokenAuditEntry>,
        audit: &AuditEntry,
    ) -> Result<()> {
        match self.try_to_delete_token(token, log, audit, true).await {
            // It had run out, so that another token could take its place.
            Err(error) if is_taken(&error) => {
                self.try_to_delete_token(token, log, audit, false).await
            }
            outcome => outcome,
        }
    }

    async fn try_to_delete_token(
        &self,
        token: &Token,
        log: Option<&TokenAuditEntry>,
        audit: &AuditEntry,
        has_place: bool,
    ) -> Result<()> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        let tombstone = Token {
            state: TokenState::Deleted,
            ..token.clone()
        };
        let key = keys::token(token.organization_id, token.id);
        let tombstone = NewItem::new(key, "token_tombstone", &tombstone).map(|item| {
            item.number(REVISION, token.revision + 1)
                .expires(audit.created_at + token_log::KEPT_FOR)
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
        if token.state != TokenState::Revoked {
            transaction.forget_maker(token);
            if has_place {
                transaction.free_place(token);
            }
        }
        if let Some(log) = log {
            transaction.token_audit(token, log);
        }
        transaction.audit(audit);
        transaction.commit().await
    }

    /// The tokens that a user has made, in all organizations, but those that were revoked or deleted: for when the user's
    /// rights change.
    pub async fn tokens_by_maker(&self, user: UserId) -> Result<Vec<Token>> {
        let partition = keys::tokens_by_maker(user);
        let rows = self.collection(&self.tables.records, &partition, "", "");
        let rows = rows.await?;
        let made = rows.iter().filter_map(|row| readable(row, entity));
        let made: Vec<MadeToken> = made.collect();
        let mut tokens = Vec::new();
        for some in made.chunks(READ_AT_ONCE) {
            let read = some
                .iter()
                .map(|made| self.token(made.organization_id, made.token_id));
            tokens.extend(try_join_all(read).await?.into_iter().flatten());
        }
        Ok(tokens)
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

    /// Writes all items of a token that was read as `seen`.
    fn replace_token(&mut self, seen: &Token, next: &Token) {
        let records = self.store().tables.records.clone();
        let unchanged = || Condition::revision(seen.revision);
        self.change_owner_item(next, unchanged());
        let known: Vec<TokenHash> = seen.hashes().collect();
        // A deletion of the workspace ends the secrets that it finds: there must be no other afterwards.
        if next.hashes().any(|hash| !known.contains(&hash)) {
            self.check_workspace(next.organization_id, next.workspace_id);
        }
        for hash in next.hashes() {
            let lookup = lookup_item(next, hash);
            if known.contains(&hash) {
                self.change(&records, lookup, &[], unchanged(), stale);
            } else {
                let lookup = lookup.map(|item| item.number(USED_HOUR, seen.used_hour));
                self.create(&records, lookup, stale);
            }
        }
        for old in known {
            if !next.hashes().any(|hash| hash == old) {
                self.delete(
                    &records,
                    &keys::token_by_hash(old),
                    Condition::none(),
                    stale,
                );
            }
        }
    }

    /// Has the token found when its maker's rights change.
    fn find_by_maker(&mut self, token: &Token) {
        let made = MadeToken {
            organization_id: token.organization_id,
            token_id: token.id,
        };
        let key = keys::token_by_maker(token.user_id, token.id);
        let item = NewItem::new(key, "token_by_maker", &made);
        let records = self.store().tables.records.clone();
        // No put: every function adopts tokens from before, and all may update.
        self.change(&records, item, &[], Condition::none(), stale);
    }

    fn forget_maker(&mut self, token: &Token) {
        let records = self.store().tables.records.clone();
        let key = keys::token_by_maker(token.user_id, token.id);
        self.delete(&records, &key, Condition::none(), stale);
    }
}

fn lookup_item(token: &Token, hash: TokenHash) -> Result<NewItem> {
    Ok(
        NewItem::new(keys::token_by_hash(hash), "token_lookup", token)?
            .number(REVISION, token.revision),
    )
}

fn owner_item(token: &Token) -> Result<NewItem> {
    // A token that can still run out is in the due index, so that the tick notices when it does.
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
        .number(REVISION, token.revision);
    Ok(item)
}

fn read_token(item: &Item) -> Result<Token> {
    let token: Token = entity(item)?;
    Ok(Token {
        revision: revision(item),
        used_hour: number(item, USED_HOUR),
        usage_count: u64::try_from(number(item, USAGE_COUNT)).unwrap_or(0),
        last_used_at: DateTime::from_timestamp_millis(number(item, LAST_USED_AT))
            .filter(|at| at.timestamp_millis() > 0),
        ..token
    })
}
