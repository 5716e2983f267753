//! The operations on a token that all dialects have: make, change, replace its secret, end.

use auth::Principal;
use chrono::{DateTime, TimeDelta, Utc};
use domain::access::Role;
use domain::audit::AuditEntry;
use domain::ids::{AuditId, TokenId};
use domain::token::{
    Maker, NewToken, PreviousSecret, Token, TokenAction, TokenKind, TokenSecret, TokenState,
};
use domain::{Error, Result};
use store::TokenAuditEntry;

use crate::State;
use web::Entity;

/// The caller as the maker of a token: a super admin is an administrator in other organizations.
pub(crate) fn maker(caller: &Principal) -> Maker {
    let is_home = caller.organization_id == caller.home_organization_id;
    Maker {
        organization_id: caller.home_organization_id,
        role: if is_home { caller.role } else { Role::Admin },
        all_workspaces: caller.workspaces.is_none(),
    }
}

/// Makes a token. Its secret is known to the caller alone.
///
/// The same request again, after its answer got lost, finds the token that it made and gets another secret for it.
pub(crate) async fn create(
    state: &State,
    caller: &Principal,
    new: NewToken,
) -> Result<(Token, TokenSecret)> {
    let now = state.context.services.clock.now();
    check_expiry(new.expires_at, now)?;
    // Members of another organization could not tell where such a token comes from.
    if new.own_role > Some(new.maker.role) {
        return Err(Error::invalid(
            "role",
            "must not be SUPERADMIN outside your own organization",
        ));
    }
    let (token, secret) = new.issue(now);
    let log = TokenAuditEntry::new(TokenAction::Created, &caller.audit_context, now);
    let audit = AuditEntry::new(
        &caller.audit_context,
        "api_key.created",
        "api_key",
        token.id,
        now,
    );
    let store = &state.context.store;
    let created = store.create_token(&token, caller.member_revision, &log, &audit);
    match created.await {
        Ok(token) => Ok((token, secret)),
        Err(refusal @ (Error::Conflict(_) | Error::LimitReached(_))) => {
            let made = store.token(token.organization_id, token.id).await?;
            let made =
                made.filter(|made| Some(made.user_id) == caller.user_id && made.kind == token.kind);
            let made = made.ok_or(refusal)?;
            regenerate(state, caller, &made, made.clone(), None).await
        }
        Err(error) => Err(error),
    }
}

/// The token `id` of one of `kinds`, if the caller may see it.
pub(crate) async fn find(
    state: &State,
    caller: &Principal,
    id: TokenId,
    kinds: &[TokenKind],
) -> Result<Token> {
    let token = state
        .context
        .store
        .token(caller.organization_id, id)
        .await?;
    visible(state, caller, token, kinds).await
}

/// Like [`find`], also for a token that was deleted: its log is still there to be read.
pub(crate) async fn find_for_log(
    state: &State,
    caller: &Principal,
    id: TokenId,
    kinds: &[TokenKind],
) -> Result<Token> {
    let organization = caller.organization_id;
    let token = state
        .context
        .store
        .token_or_tombstone(organization, id)
        .await?;
    visible(state, caller, token, kinds).await
}

async fn visible(
    state: &State,
    caller: &Principal,
    token: Option<Token>,
    kinds: &[TokenKind],
) -> Result<Token> {
    let token = Token::or_not_found(token.filter(|token| kinds.contains(&token.kind)))?;
    let workspace = Some(token.workspace_id);
    match state
        .context
        .authenticator
        .workspace_for(caller, workspace)
        .await
    {
        Err(Error::NotFound(_)) => Err(Error::NotFound("token")),
        outcome => outcome.map(|_| token),
    }
}

/// Like [`find`], to end it: a token of the caller's own, or any token for an administrator.
pub(crate) async fn find_to_end(
    state: &State,
    caller: &Principal,
    id: TokenId,
    kinds: &[TokenKind],
) -> Result<Token> {
    let token = find(state, caller, id, kinds).await?;
    if Some(token.user_id) != caller.user_id {
        caller.require_role(Role::Admin)?;
    }
    Ok(token)
}

/// Like [`find_to_end`], to change it and keep it: the token may do nothing that the caller may not.
pub(crate) async fn find_to_change(
    state: &State,
    caller: &Principal,
    id: TokenId,
    kinds: &[TokenKind],
) -> Result<Token> {
    let token = find_to_end(state, caller, id, kinds).await?;
    let is_own = Some(token.user_id) == caller.user_id;
    if token.maker_organization_id.is_none() && !is_own {
        // What its maker may do is written on an older token when it is first used, and may be as much as this.
        caller.require_role_everywhere(Role::Admin)?;
    }
    if token.all_workspaces {
        caller.require_role_everywhere(token.role)?;
    } else {
        caller.require_role(token.role)?;
    }
    Ok(token)
}

/// Writes a token that was changed from `seen`, and gives it as it is now. `action` is the row of its own log, `None` for
/// changes that are not among the six. A token that is not active any more has no secret in its grace either.
pub(crate) async fn update(
    state: &State,
    caller: &Principal,
    seen: &Token,
    token: Token,
    action: Option<TokenAction>,
    audit: &str,
) -> Result<Token> {
    let now = state.context.services.clock.now();
    let previous = token.previous_at(now).cloned();
    let token = Token {
        previous: previous.filter(|_| token.state == TokenState::Active),
        ..token
    };
    let log = action.map(|action| TokenAuditEntry::new(action, &caller.audit_context, now));
    let audit = AuditEntry::new(&caller.audit_context, audit, "api_key", token.id, now);
    state
        .context
        .store
        .update_token(seen, &token, log.as_ref(), Some(&audit), now)
        .await?;
    Ok(token)
}

/// The time that the old secret of a token is good beside the new one.
#[derive(Clone, Copy)]
pub(crate) struct Grace {
    pub(crate) lasts: TimeDelta,
    /// The same for a repetition of the request, whose old secret is the one from before the first attempt: what that attempt
    /// made was never handed out.
    pub(crate) rotation: AuditId,
}

/// Gives a token a new secret. The old one is good for `grace` more, and so unknown from the next request on without one; a
/// grace that still lasts from another rotation ends at once.
pub(crate) async fn regenerate(
    state: &State,
    caller: &Principal,
    seen: &Token,
    token: Token,
    grace: Option<Grace>,
) -> Result<(Token, TokenSecret)> {
    if token.state == TokenState::Revoked {
        return Err(revoked());
    }
    let now = state.context.services.clock.now();
    check_expiry(token.expires_at, now)?;
    let secret = TokenSecret::generate(token.kind);
    let grace = grace.filter(|_| token.state == TokenState::Active);
    let previous = grace.map(|grace| {
        let is_of_rotation = |kept: &PreviousSecret| kept.rotation == Some(grace.rotation);
        token
            .previous
            .clone()
            .filter(is_of_rotation)
            .unwrap_or_else(|| PreviousSecret {
                hash: token.hash,
                prefix: token.prefix.clone(),
                valid_until: now + grace.lasts,
                rotation: Some(grace.rotation),
            })
    });
    let token = Token {
        hash: secret.hash(),
        prefix: secret.display_prefix(),
        previous,
        ..token
    };
    let log = TokenAuditEntry::new(TokenAction::Regenerated, &caller.audit_context, now);
    let audit = AuditEntry::new(
        &caller.audit_context,
        "api_key.regenerated",
        "api_key",
        token.id,
        now,
    );
    state
        .context
        .store
        .update_token(seen, &token, Some(&log), Some(&audit), now)
        .await?;
    Ok((token, secret))
}

/// Deletes a token. Unless it was revoked before, its log says that it is now.
pub(crate) async fn delete(state: &State, caller: &Principal, token: &Token) -> Result<()> {
    let now = state.context.services.clock.now();
    let log = (token.state != TokenState::Revoked)
        .then(|| TokenAuditEntry::new(TokenAction::Revoked, &caller.audit_context, now));
    let audit = AuditEntry::new(
        &caller.audit_context,
        "api_key.deleted",
        "api_key",
        token.id,
        now,
    );
    state
        .context
        .store
        .delete_token(token, log.as_ref(), &audit)
        .await
}

/// `Ok` for an expiry that lies ahead.
pub(crate) fn check_expiry(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<()> {
    match expires_at {
        Some(at) if at <= now => Err(Error::invalid("expires_at", "must be in the future")),
        // Beyond this, times have no four-digit year any more.
        Some(at) if at > now + TimeDelta::days(365 * 100) => {
            Err(Error::invalid("expires_at", "must be within 100 years"))
        }
        _ => Ok(()),
    }
}

/// The answer to changing a token that has ended for good.
pub(crate) fn revoked() -> Error {
    Error::Refused("the token is revoked, which is permanent".to_owned())
}
