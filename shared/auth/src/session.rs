//! Sessions: a signed access token for an hour, a refresh token that works once, and the row that makes both revocable.
//!
//! The refresh token that follows another is derived from it. So clients that send the same one twice within its grace (two tabs,
//! or one client that has lost the answer) get the same next one, and only hashes of refresh tokens are stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::access::Role;
use domain::digest::sha256_hex;
use domain::identity::{Member, ReplacedToken, Session};
use domain::ids::{OrganizationId, SessionId, UserId};
use rand::Rng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use keyring::Keyring;

/// The audience of console sessions.
pub(crate) const AUDIENCE: &str = "session";
/// The purpose that refresh tokens are authenticated for.
const REFRESH: &str = "refresh";
/// The purpose that the next refresh token is derived for.
const SUCCESSOR: &str = "refresh-successor";
/// The lifetime of an access token.
const ACCESS_LIFETIME: TimeDelta = TimeDelta::hours(1);
/// The time for which a refresh token is still answered after it was replaced.
const GRACE: TimeDelta = TimeDelta::seconds(30);
/// The number of replaced refresh tokens that are remembered. The tabs of one browser do not replace more within the grace.
const REMEMBERED: usize = 32;

/// The claims of an access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessClaims {
    pub sub: UserId,
    pub sid: SessionId,
    pub org: OrganizationId,
    pub role: Role,
    pub aud: String,
    pub iat: i64,
    pub exp: i64,
}

// Not `Debug`: both are secrets.
/// The tokens that a client keeps of a session.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct SessionTokens {
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds until the access token runs out.
    pub expires_in: i64,
}

/// The relation of a refresh token to a session.
pub enum Exchange {
    /// The good one: the session is to be replaced by this one, and these are its tokens.
    Next(Box<Session>, SessionTokens),
    /// One that was replaced within its grace: the session stands, and these are its tokens.
    Repeated(SessionTokens),
    /// One that was replaced earlier, so that two have it.
    Reused,
    /// None of the session's, as far as these keys tell.
    Unknown,
}

/// Makes a session of a member, with its tokens. `network` is where it is made from.
pub fn begin_session(
    keyring: &Keyring,
    member: &Member,
    network: Option<String>,
    now: DateTime<Utc>,
) -> Result<(Session, SessionTokens)> {
    let id = SessionId::new(now);
    let mut random = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(&mut *random);
    let refresh_token = Zeroizing::new(genuine(keyring, id, &URL_SAFE_NO_PAD.encode(*random)));
    let session = Session {
        id,
        user_id: member.user_id,
        organization_id: member.organization_id,
        refresh_hash: sha256_hex(&refresh_token),
        replaced: Vec::new(),
        password_version: member.password_version,
        network,
        created_at: now,
        expires_at: now + Session::IDLE_LIFETIME,
    };
    let tokens = tokens(keyring, &session, member.role, &refresh_token, now)?;
    Ok((session, tokens))
}

/// The session that a refresh token names, whether or not it is one of its tokens.
pub fn session_of(refresh_token: &str) -> Option<SessionId> {
    refresh_token.split_once('.')?.0.parse().ok()
}

/// The relation of `refresh_token` to `session`, and the tokens that it is exchanged for.
pub fn exchange(
    keyring: &Keyring,
    session: &Session,
    role: Role,
    refresh_token: &str,
    now: DateTime<Utc>,
) -> Result<Exchange> {
    let hash = sha256_hex(refresh_token);
    let is_recent = |replaced: &&ReplacedToken| now - replaced.at <= GRACE;
    if hash == session.refresh_hash {
        let next = successor(keyring, session.id, refresh_token);
        let mut replaced: Vec<_> = session.replaced.iter().filter(is_recent).cloned().collect();
        replaced.push(ReplacedToken { hash, at: now });
        let surplus = replaced.len().saturating_sub(REMEMBERED);
        let session = Session {
            refresh_hash: sha256_hex(&next),
            replaced: replaced.split_off(surplus),
            expires_at: (now + Session::IDLE_LIFETIME).min(session.created_at + Session::LIFETIME),
            ..session.clone()
        };
        let tokens = tokens(keyring, &session, role, &next, now)?;
        return Ok(Exchange::Next(Box::new(session), tokens));
    }
    let mut recent = session.replaced.iter().filter(is_recent);
    if recent.any(|replaced| replaced.hash == hash) {
        return match current(keyring, session, refresh_token) {
            Some(current) => {
                let tokens = tokens(keyring, session, role, &current, now)?;
                Ok(Exchange::Repeated(tokens))
            }
            None => Ok(Exchange::Unknown),
        };
    }
    // Only a token that we made counts as reused: a made-up one must not end the session of another user.
    Ok(if is_genuine(keyring, refresh_token) {
        Exchange::Reused
    } else {
        Exchange::Unknown
    })
}

fn tokens(
    keyring: &Keyring,
    session: &Session,
    role: Role,
    refresh_token: &str,
    now: DateTime<Utc>,
) -> Result<SessionTokens> {
    let expires_at = (now + ACCESS_LIFETIME).min(session.expires_at);
    let claims = AccessClaims {
        sub: session.user_id,
        sid: session.id,
        org: session.organization_id,
        role,
        aud: AUDIENCE.to_owned(),
        iat: now.timestamp(),
        exp: expires_at.timestamp(),
    };
    Ok(SessionTokens {
        access_token: keyring.sign(AUDIENCE, &claims)?,
        refresh_token: refresh_token.to_owned(),
        expires_in: (expires_at - now).num_seconds(),
    })
}

/// The good refresh token of a session, derived from one that was replaced.
fn current(keyring: &Keyring, session: &Session, replaced: &str) -> Option<String> {
    let mut token = replaced.to_owned();
    for _ in 0..=session.replaced.len() {
        let mut successors = keyring.versions().map(|version| {
            let next = successor(&version, session.id, &token);
            let hash = sha256_hex(&next);
            (next, hash)
        });
        // The successor that is stored tells which of the keys was the current one when the token was replaced.
        let (next, hash) = successors.find(|(_, hash)| {
            let mut replaced = session.replaced.iter();
            *hash == session.refresh_hash || replaced.any(|replaced| replaced.hash == *hash)
        })?;
        if hash == session.refresh_hash {
            return Some(next);
        }
        token = next;
    }
    None
}

/// The refresh token that follows another one.
fn successor(keyring: &Keyring, id: SessionId, refresh_token: &str) -> String {
    genuine(
        keyring,
        id,
        &keyring.mac(SUCCESSOR, refresh_token.as_bytes()),
    )
}

/// A refresh token, which shows that we made it.
fn genuine(keyring: &Keyring, id: SessionId, unique: &str) -> String {
    let text = format!("{id}.{unique}");
    let mac = keyring.mac(REFRESH, text.as_bytes());
    format!("{text}.{mac}")
}

fn is_genuine(keyring: &Keyring, refresh_token: &str) -> bool {
    let parts = refresh_token.rsplit_once('.');
    parts.is_some_and(|(text, mac)| keyring.verify_mac(REFRESH, text.as_bytes(), mac))
}

#[cfg(test)]
mod tests {
    use domain::identity::{Email, MemberStatus};
    use domain::ids::WorkspaceId;
    use domain::text::Name;

    use super::*;

    fn member(now: DateTime<Utc>) -> Member {
        Member {
            organization_id: OrganizationId::new(now),
            user_id: UserId::new(now),
            email: Email::try_from("ada@example.com".to_owned()).unwrap(),
            name: Name::parse("Ada").unwrap(),
            role: Role::User,
            status: MemberStatus::Active,
            workspaces: None,
            default_workspace_id: WorkspaceId::new(now),
            password_version: 0,
            invitation_hash: None,
            created_at: now,
            revision: 1,
        }
    }

    #[test]
    fn all_who_hold_a_token_within_its_grace_come_to_the_same_next_one() {
        let start = DateTime::UNIX_EPOCH;
        let at = |seconds| start + TimeDelta::seconds(seconds);
        let old = Keyring::of(&[("1", "one")]);
        let rotated = Keyring::of(&[("2", "two"), ("1", "one")]);
        let (session, first) = begin_session(&old, &member(start), None, start).unwrap();
        let next = |keyring: &Keyring, session: &Session, token: &str, now| match exchange(
            keyring,
            session,
            Role::User,
            token,
            now,
        )
        .unwrap()
        {
            Exchange::Next(session, tokens) => (*session, tokens.refresh_token),
            _ => panic!("not the good token"),
        };
        let (session, second) = next(&old, &session, &first.refresh_token, at(0));
        let (session, third) = next(&rotated, &session, &second, at(10));
        let answer = |keyring: &Keyring, token: &str, now| {
            exchange(keyring, &session, Role::User, token, now).unwrap()
        };
        for (token, now) in [(&first.refresh_token, at(30)), (&second, at(40))] {
            // A client that still has the first one has skipped the second.
            match answer(&rotated, token, now) {
                Exchange::Repeated(tokens) => assert_eq!(tokens.refresh_token, third),
                _ => panic!("within its grace"),
            }
            let late = now + TimeDelta::seconds(1);
            assert!(matches!(answer(&rotated, token, late), Exchange::Reused));
        }
        // An instance that does not know the new key yet cannot tell.
        let unaware = answer(&old, &second, at(20));
        assert!(matches!(unaware, Exchange::Unknown));
        let forged = format!("{}.{}.{}", session.id, "0".repeat(64), "0".repeat(64));
        assert!(matches!(
            answer(&rotated, &forged, at(20)),
            Exchange::Unknown
        ));
    }

    #[test]
    fn a_session_ends_after_ninety_days_however_often_it_is_refreshed() {
        let keyring = Keyring::of(&[("1", "one")]);
        let mut now = DateTime::UNIX_EPOCH;
        let member = member(now);
        let (mut session, mut tokens) = begin_session(&keyring, &member, None, now).unwrap();
        while session.is_good_for(&member, now) {
            let token = &tokens.refresh_token;
            match exchange(&keyring, &session, Role::User, token, now).unwrap() {
                Exchange::Next(next, fresh) => (session, tokens) = (*next, fresh),
                _ => panic!("not the good token"),
            }
            assert!(now + TimeDelta::seconds(tokens.expires_in) <= session.expires_at);
            now += TimeDelta::hours(25);
        }
        assert_eq!(now.timestamp() / Session::LIFETIME.num_seconds(), 1);
        assert_eq!(session.expires_at, DateTime::UNIX_EPOCH + Session::LIFETIME);
    }
}
