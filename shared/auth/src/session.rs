//! Sessions: a signed access token for an hour, a refresh token that works once, and the row that makes both revocable.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::access::Role;
use domain::digest::sha256_hex;
use domain::identity::Session;
use domain::ids::{OrganizationId, SessionId, UserId};
use rand::Rng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Keyring;

/// The audience of console sessions.
pub(crate) const AUDIENCE: &str = "session";
/// What refresh tokens are authenticated for.
const REFRESH: &str = "refresh";
/// How long an access token is good for.
const ACCESS_LIFETIME: TimeDelta = TimeDelta::hours(1);
/// How long a session lasts without a refresh.
const REFRESH_LIFETIME: TimeDelta = TimeDelta::days(30);

/// What an access token says.
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

/// What a client keeps of a session. Not `Debug`: both are secrets.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct SessionTokens {
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds until the access token runs out.
    pub expires_in: i64,
}

/// Makes the tokens of a session and the row to store: a new session, or with `id` the next refresh token of one.
pub fn issue_session(
    keyring: &Keyring,
    id: Option<SessionId>,
    user: UserId,
    organization: OrganizationId,
    role: Role,
    created_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(Session, SessionTokens)> {
    let id = id.unwrap_or_else(|| SessionId::new(now));
    let mut random = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(&mut *random);
    let genuine = format!("{id}.{}", URL_SAFE_NO_PAD.encode(*random));
    let mac = keyring.mac(REFRESH, genuine.as_bytes());
    let refresh_token = format!("{genuine}.{mac}");
    let claims = AccessClaims {
        sub: user,
        sid: id,
        org: organization,
        role,
        aud: AUDIENCE.to_owned(),
        iat: now.timestamp(),
        exp: (now + ACCESS_LIFETIME).timestamp(),
    };
    let session = Session {
        id,
        user_id: user,
        organization_id: organization,
        refresh_hash: sha256_hex(&refresh_token),
        created_at,
        expires_at: now + REFRESH_LIFETIME,
    };
    let access_token = keyring.sign(AUDIENCE, &claims)?;
    Ok((
        session,
        SessionTokens {
            access_token,
            refresh_token,
            expires_in: ACCESS_LIFETIME.num_seconds(),
        },
    ))
}

/// The session and the hash of a refresh token that we made at some time; `None` for any other. That it is ours is what makes
/// its reuse a sign of theft, and not a way to end other people's sessions.
pub fn refresh_parts(keyring: &Keyring, refresh_token: &str) -> Option<(SessionId, String)> {
    let (genuine, mac) = refresh_token.rsplit_once('.')?;
    let (id, _) = genuine.split_once('.')?;
    keyring
        .verify_mac(REFRESH, genuine.as_bytes(), mac)
        .then_some(())?;
    Some((id.parse().ok()?, sha256_hex(refresh_token)))
}
