//! Tokens follow their makers: when a user's rights change, so do those of the tokens that the user has made, in all organizations.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::audit::{AuditEntry, Caller};
use domain::identity::Member;
use domain::ids::UserId;
use domain::token::{Token, TokenAction, TokenState};
use domain::{Error, Result};
use futures::{TryStreamExt, stream};
use rand::RngExt;
use store::{Store, TokenAuditEntry};

/// The number of times that a token is read again that others write meanwhile.
const ATTEMPTS: u32 = 8;
/// The number of tokens of a member that are changed side by side.
const AT_ONCE: usize = 8;

/// The rights of a member both before and after a change, which tokens have while it is under way.
pub fn least_of(before: &Member, after: &Member) -> Member {
    Member {
        role: before.role.min(after.role),
        workspaces: after.workspaces.clone().or(before.workspaces.clone()),
        ..after.clone()
    }
}

/// Brings the tokens that `user` has made in line with the membership as it is to be, `None` for one that ends: those that it
/// does not open any more are revoked, all others have the lower of their own role and the member's.
///
/// Call it before the membership is written, with the least of both memberships, so that a crash leaves tokens with too few rights
/// rather than too many; and call it afterwards with what was written: no token can be made under the old membership from then on.
///
/// # Errors
/// `Conflict` when others kept changing a token, which is then not in line.
pub async fn restrict_tokens_to_member(
    store: &Store,
    user: UserId,
    standing: Option<&Member>,
    caller: &Caller,
    now: DateTime<Utc>,
) -> Result<()> {
    let tokens = store.tokens_by_maker(user).await?;
    // Those that have run out as well: they can be renewed.
    stream::iter(tokens.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |token| {
            restrict_token(store, token, standing, caller, now)
        })
        .await
}

async fn restrict_token(
    store: &Store,
    token: Token,
    standing: Option<&Member>,
    caller: &Caller,
    now: DateTime<Utc>,
) -> Result<()> {
    let caller = Caller {
        organization_id: token.organization_id,
        workspace_id: token.workspace_id,
        ..caller.clone()
    };
    let mut seen = token;
    let mut attempt = 0;
    loop {
        let Some(changed) = seen.follow(standing) else {
            return Ok(());
        };
        let revoked = changed.state == TokenState::Revoked;
        let log = revoked.then(|| TokenAuditEntry::new(TokenAction::Revoked, &caller, now));
        let action = if revoked {
            "api_key.revoked"
        } else {
            "api_key.updated"
        };
        let audit = AuditEntry::new(&caller, action, "api_key", changed.id, now);
        let written = store.update_token(&seen, &changed, log.as_ref(), Some(&audit), now);
        match written.await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            Err(Error::Conflict(_)) => {
                let why = "a token of this member kept being changed; try again";
                return Err(Error::Conflict(why.to_owned()));
            }
            outcome => return outcome,
        }
        let wait = rand::rng().random_range(1..=(4 << attempt));
        tokio::time::sleep(Duration::from_millis(wait)).await;
        match store.token(seen.organization_id, seen.id).await? {
            Some(token) => seen = token,
            // Deleted meanwhile.
            None => return Ok(()),
        }
    }
}
