//! What all dialects do to a token: make, change, replace its secret, end.

use auth::Principal;
use chrono::{DateTime, Utc};
use domain::access::Role;
use domain::audit::AuditEntry;
use domain::ids::TokenId;
use domain::token::{NewToken, Token, TokenAction, TokenKind, TokenSecret, TokenState};
use domain::{Error, Result};
use store::TokenAuditEntry;

use crate::State;

/// Makes a token. Its secret is known to the caller alone.
pub(crate) async fn create(
    state: &State,
    caller: &Principal,
    new: NewToken,
) -> Result<(Token, TokenSecret)> {
    let now = state.host.services.clock.now();
    check_expiry(new.expires_at, now)?;
    let (token, secret) = new.issue(now);
    let log = TokenAuditEntry::new(TokenAction::Created, &caller.caller, now);
    let audit = AuditEntry::new(&caller.caller, "api_key.created", "api_key", token.id, now);
    state.host.store.create_token(&token, &log, &audit).await?;
    Ok((token, secret))
}

/// The token `id` of one of `kinds`, if the caller may see it.
pub(crate) async fn find(
    state: &State,
    caller: &Principal,
    id: TokenId,
    kinds: &[TokenKind],
) -> Result<Token> {
    let token = state.host.store.token(caller.organization_id, id).await?;
    let token = token
        .filter(|token| kinds.contains(&token.kind))
        .ok_or(Error::NotFound("token"))?;
    match state
        .host
        .authenticator
        .workspace_for(caller, Some(token.workspace_id))
        .await
    {
        Err(Error::NotFound(_)) => Err(Error::NotFound("token")),
        outcome => outcome.map(|_| token),
    }
}

/// Like [`find`], for a change: one's own token, or anybody's for an administrator.
pub(crate) async fn find_to_change(
    state: &State,
    caller: &Principal,
    id: TokenId,
    kinds: &[TokenKind],
) -> Result<Token> {
    let token = find(state, caller, id, kinds).await?;
    if token.user_id != caller.user_id {
        caller.require_role(Role::Admin)?;
    }
    caller.require_role(token.role)?;
    Ok(token)
}

/// Writes a changed token; `action` is the row of its own log, `None` for changes that are not among the six.
pub(crate) async fn update(
    state: &State,
    caller: &Principal,
    token: &Token,
    action: Option<TokenAction>,
    audit: &str,
) -> Result<()> {
    let now = state.host.services.clock.now();
    let log = action.map(|action| TokenAuditEntry::new(action, &caller.caller, now));
    let audit = AuditEntry::new(&caller.caller, audit, "api_key", token.id, now);
    state
        .host
        .store
        .update_token(token, None, log.as_ref(), Some(&audit))
        .await
}

/// Gives a token a new secret. The old one is unknown from the next request on.
pub(crate) async fn regenerate(
    state: &State,
    caller: &Principal,
    token: Token,
) -> Result<(Token, TokenSecret)> {
    if token.state == TokenState::Revoked {
        return Err(revoked());
    }
    let now = state.host.services.clock.now();
    check_expiry(token.expires_at, now)?;
    let secret = TokenSecret::generate(token.kind);
    let old = token.hash;
    let token = Token {
        hash: secret.hash(),
        prefix: secret.display_prefix(),
        ..token
    };
    let log = TokenAuditEntry::new(TokenAction::Regenerated, &caller.caller, now);
    let audit = AuditEntry::new(
        &caller.caller,
        "api_key.regenerated",
        "api_key",
        token.id,
        now,
    );
    state
        .host
        .store
        .update_token(&token, Some(old), Some(&log), Some(&audit))
        .await?;
    Ok((token, secret))
}

/// Deletes a token. Unless it was revoked before, its log says that it is now.
pub(crate) async fn delete(state: &State, caller: &Principal, token: &Token) -> Result<()> {
    let now = state.host.services.clock.now();
    let log = (token.state != TokenState::Revoked)
        .then(|| TokenAuditEntry::new(TokenAction::Revoked, &caller.caller, now));
    let audit = AuditEntry::new(&caller.caller, "api_key.deleted", "api_key", token.id, now);
    state
        .host
        .store
        .delete_token(token, log.as_ref(), &audit)
        .await
}

/// `Ok` for an expiry that lies ahead.
pub(crate) fn check_expiry(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<()> {
    match expires_at {
        Some(at) if at <= now => Err(Error::invalid("expires_at", "must be in the future")),
        // Beyond this, times have no four-digit year any more.
        Some(at) if at > now + chrono::TimeDelta::days(365 * 100) => {
            Err(Error::invalid("expires_at", "must be within 100 years"))
        }
        _ => Ok(()),
    }
}

/// The answer to changing a token that has ended for good.
pub(crate) fn revoked() -> Error {
    Error::Refused("the token is revoked, which is permanent".to_owned())
}
