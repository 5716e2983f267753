//! Writes about a token when it is used: its use, its expiry, and the rights of its maker.

use chrono::{DateTime, Utc};
use domain::audit::{AuditEntry, Caller};
use domain::token::{Token, TokenAction, TokenState, TokenStatus};
use domain::{Error, Result};
use store::TokenAuditEntry;

use crate::Authenticator;
use crate::credential::refused;

/// The number of times that a token is read again that others write meanwhile.
const ATTEMPTS: u32 = 3;

impl Authenticator {
    /// The token, if it is good now.
    pub(crate) async fn usable(&self, token: Token, now: DateTime<Utc>) -> Result<Token> {
        match token.status(now) {
            TokenStatus::Active if token.maker_organization_id.is_some() => Ok(token),
            TokenStatus::Active => self.adopt(token, now).await,
            TokenStatus::Expired if !token.expiry_recorded => {
                self.record_expiry(&token, now).await;
                Err(refused())
            }
            _ => Err(refused()),
        }
    }

    /// Gives a token that was made before tokens followed their makers the role that it has to have. This happens once per token.
    async fn adopt(&self, token: Token, now: DateTime<Utc>) -> Result<Token> {
        let mut attempt = 1;
        loop {
            // The owner's item has the use count, which the lookup item lacks.
            let owned = self.store.token(token.organization_id, token.id).await?;
            let owned = owned.ok_or_else(refused)?;
            let member = match self.store.user(owned.user_id).await? {
                Some(user) => self.store.member(user.organization_id, user.id).await?,
                None => None,
            };
            let followed = owned.follow(member.as_ref());
            let current = followed.as_ref().unwrap_or(&owned);
            let is_good = current.state == TokenState::Active;
            if let Some(next) = &followed {
                let caller = Caller::system(owned.organization_id, owned.workspace_id);
                let (action, log) = if next.state == TokenState::Revoked {
                    let log = TokenAuditEntry::new(TokenAction::Revoked, &caller, now);
                    ("api_key.revoked", Some(log))
                } else {
                    ("api_key.updated", None)
                };
                let audit = AuditEntry::new(&caller, action, "api_key", owned.id, now);
                let written =
                    self.store
                        .adopt_token(&owned, next, member.as_ref(), log.as_ref(), &audit);
                match written.await {
                    Err(Error::Conflict(_)) if attempt < ATTEMPTS => {
                        attempt += 1;
                        continue;
                    }
                    outcome => outcome?,
                }
            }
            let adopted = Token {
                maker_organization_id: current.maker_organization_id,
                own_role: current.own_role,
                role: current.role,
                all_workspaces: current.all_workspaces,
                ..token
            };
            return Some(adopted).filter(|_| is_good).ok_or_else(refused);
        }
    }

    /// Writes the `expired` row, unless the due tick has done so.
    async fn record_expiry(&self, token: &Token, now: DateTime<Utc>) {
        let caller = Caller::system(token.organization_id, token.workspace_id);
        let log = TokenAuditEntry::new(TokenAction::Expired, &caller, now);
        match self.store.token(token.organization_id, token.id).await {
            // The owner's item has the use count, which the lookup item lacks.
            Ok(Some(owned)) if owned.revision == token.revision && !owned.expiry_recorded => {
                let recorded = Token {
                    expiry_recorded: true,
                    ..owned.clone()
                };
                match self
                    .store
                    .update_token(&owned, &recorded, Some(&log), None, now)
                    .await
                {
                    Ok(()) | Err(Error::Conflict(_)) => {}
                    Err(error) => {
                        tracing::warn!(%error, token.id = %token.id, "a token's expiry was not recorded; the tick will")
                    }
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, token.id = %token.id, "a token's expiry was not recorded; the tick will")
            }
        }
    }

    /// Logs the first use of a token in an hour. Nothing waits for the outcome, and nothing fails by it. Uses are counted by the
    /// request log.
    pub async fn record_first_use(&self, token: &Token, caller: &Caller) {
        let now = self.services.clock.now();
        let log = TokenAuditEntry::new(TokenAction::Used, caller, now);
        if let Err(error) = self.store.record_first_use(token, &log, now).await {
            tracing::warn!(%error, token.id = %token.id, "the use of a token was not recorded");
        }
    }
}
