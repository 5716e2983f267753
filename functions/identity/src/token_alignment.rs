//! Tokens follow their makers: none outranks the person who made it, or opens a workspace that is closed to that person.

use chrono::{DateTime, Utc};
use domain::audit::{AuditEntry, Caller};
use domain::identity::Member;
use domain::ids::{OrganizationId, UserId};
use domain::token::{Token, TokenAction, TokenState};
use domain::{Error, Result};
use store::{Store, TokenAuditEntry};

/// How often a token that somebody else changes at the same time is looked at again.
const ATTEMPTS: usize = 3;

/// Brings the tokens that `user` has made in line with the membership as it is to be, `None` for one that ends: revokes
/// those that are too far-reaching by workspace, lowers those that are by role.
///
/// Call it before the membership is written, so that a crash leaves too little rather than too much, and after: no token can
/// be made under the old membership from then on.
pub async fn bring_tokens_in_line(
    store: &Store,
    organization: OrganizationId,
    user: UserId,
    standing: Option<&Member>,
    caller: &Caller,
    now: DateTime<Utc>,
) -> Result<()> {
    for token in store.tokens_of_user(organization, user).await? {
        let mut seen = Some(token);
        for _ in 0..ATTEMPTS {
            let Some(before) = seen else { break };
            let Some(changed) = in_line(&before, standing) else {
                break;
            };
            let revoked = changed.state == TokenState::Revoked;
            let log = revoked.then(|| TokenAuditEntry::new(TokenAction::Revoked, caller, now));
            let action = if revoked {
                "api_key.revoked"
            } else {
                "api_key.updated"
            };
            let audit = AuditEntry::new(caller, action, "api_key", changed.id, now);
            match store
                .update_token(&before, &changed, log.as_ref(), Some(&audit))
                .await
            {
                Err(Error::Conflict(_)) => seen = store.token(organization, changed.id).await?,
                outcome => {
                    outcome?;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The token as it has to be; `None` when it is fine.
fn in_line(token: &Token, standing: Option<&Member>) -> Option<Token> {
    if token.state == TokenState::Revoked {
        return None;
    }
    match standing {
        Some(member) if member.may_use(token.workspace_id) => {
            (token.role > member.role).then(|| Token {
                role: member.role,
                ..token.clone()
            })
        }
        _ => Some(Token {
            state: TokenState::Revoked,
            previous: None,
            ..token.clone()
        }),
    }
}
