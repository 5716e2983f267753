//! API tokens and keys of all three dialects: one entity.

use chrono::{DateTime, Utc};
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::access::Role;
use crate::digest::hex;
use crate::ids::{AuditId, OrganizationId, TokenId, UserId, WorkspaceId};
use crate::text::Name;

mod maker;

pub use maker::Maker;

/// The product whose clients carry the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    Prodgy,
    Prowpt,
    AgentPlatform,
}

impl TokenKind {
    pub const ALL: [Self; 3] = [Self::Prodgy, Self::Prowpt, Self::AgentPlatform];

    /// The prefix of every token of the kind. `ap_live_` is ours, the others are documented (Prodgy's authentication
    /// page, Prowpt's agent integration page).
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Prodgy => "prodgy_",
            Self::Prowpt => "pk_live_",
            Self::AgentPlatform => "ap_live_",
        }
    }

    /// Returns `true` if a token of the kind has a role, as users have. The others have scopes.
    pub fn has_role(self) -> bool {
        self == Self::Prodgy
    }

    fn random_length(self) -> usize {
        match self {
            Self::Prodgy => 32,
            Self::Prowpt | Self::AgentPlatform => 40,
        }
    }
}

/// A token as its owner holds it. Never stored, never logged: `Debug` shows nothing of it.
#[derive(Clone)]
pub struct TokenSecret {
    kind: TokenKind,
    text: String,
}

impl TokenSecret {
    /// A fresh one from the operating system's random numbers: 190 bits and more.
    pub fn generate(kind: TokenKind) -> Self {
        let random = Alphanumeric.sample_string(&mut rand::rng(), kind.random_length());
        Self {
            kind,
            text: format!("{}{random}", kind.prefix()),
        }
    }

    /// Reads a credential; `None` when it is not of the form of any kind, which needs no look-up to refuse.
    pub fn parse(text: &str) -> Option<Self> {
        let kind = TokenKind::ALL
            .into_iter()
            .find(|kind| text.starts_with(kind.prefix()))?;
        let random = &text[kind.prefix().len()..];
        let well_formed = random.len() == kind.random_length()
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
        well_formed.then(|| Self {
            kind,
            text: text.to_owned(),
        })
    }

    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The hash that is stored in its stead. The token's own randomness makes a plain hash safe from guessing.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.text.as_bytes()).into())
    }

    /// The first characters, for telling tokens apart on a list: 8 for Prodgy (its page on API tokens),
    /// 12 for the longer prefixes.
    pub fn display_prefix(&self) -> String {
        let length = if self.kind == TokenKind::Prodgy {
            8
        } else {
            12
        };
        self.text[..length].to_owned()
    }

    /// The text itself, for the one response that hands it out.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TokenSecret")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl std::fmt::Display for TokenHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "must be 64 hexadecimal digits";
        if text.len() != 64 || !text.is_ascii() {
            return Err(WRONG);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| WRONG)?;
        }
        Ok(Self(bytes))
    }
}

/// The state that the owner has set. Whether the token has run out is a matter of the time: see [`Token::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    Active,
    Inactive,
    Revoked,
    /// The token was deleted; its row is kept for its log.
    Deleted,
}

/// The status of a token at some moment (Prodgy's page on API tokens).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenStatus {
    Active,
    Inactive,
    Expired,
    Revoked,
}

/// A token or key. Belongs to one workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    pub kind: TokenKind,
    pub hash: TokenHash,
    /// The first characters of the secret.
    pub prefix: String,
    /// The secret of before a rotation, while it is still good beside the new one.
    #[serde(default)]
    pub previous: Option<PreviousSecret>,
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    /// The user who made it, and in whose name it acts.
    pub user_id: UserId,
    pub name: Name,
    /// The organization that its maker belongs to; `None` for a token from before this was written, see [`Token::follow`].
    #[serde(default)]
    pub maker_organization_id: Option<OrganizationId>,
    /// The role that a Prodgy token was made with. Keys have none of their own: theirs is their maker's.
    #[serde(default)]
    pub own_role: Option<Role>,
    /// Its rights: the lower of its own role and its maker's of now.
    pub role: Role,
    /// `true` if its maker may use all workspaces of the organization. The token opens only its own workspace either way, but only
    /// such a token may do what concerns all workspaces.
    #[serde(default)]
    pub all_workspaces: bool,
    /// The scopes of a Prowpt or AgentPlatform key, as far as its role allows.
    pub scopes: Vec<String>,
    pub state: TokenState,
    pub expires_at: Option<DateTime<Utc>>,
    /// The token's own limit, in place of its dialect's.
    pub requests_per_minute: Option<u32>,
    /// `true` if the limit is above the dialect's because the operator said so.
    #[serde(default)]
    pub is_raised_by_operator: bool,
    /// The place that it has among its workspace's live tokens; `None` for a token from before there were any.
    #[serde(default)]
    pub place: Option<u8>,
    /// `true` if the `expired` audit row has been written.
    pub expiry_recorded: bool,
    pub created_at: DateTime<Utc>,
    /// Counts changes; a write names the revision that it has seen.
    pub revision: u64,
    #[serde(default)]
    pub usage_count: u64,
    #[serde(default)]
    pub last_used_at: Option<DateTime<Utc>>,
    /// The hour since 1970 whose use is in the log.
    #[serde(default)]
    pub used_hour: i64,
}

/// A secret that was replaced, with a time of grace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    pub hash: TokenHash,
    /// The first characters of the secret.
    pub prefix: String,
    /// From this moment on it is refused.
    pub valid_until: DateTime<Utc>,
    /// The rotation that replaced it; `None` for one from before this was written.
    #[serde(default)]
    pub rotation: Option<AuditId>,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub id: TokenId,
    pub kind: TokenKind,
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    pub user_id: UserId,
    pub maker: Maker,
    pub name: Name,
    /// A Prodgy token's own role; `None` for keys.
    pub own_role: Option<Role>,
    pub scopes: Vec<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub requests_per_minute: Option<u32>,
    pub is_raised_by_operator: bool,
}

impl NewToken {
    /// Makes the token and its secret, which cannot be read from the token afterwards.
    pub fn issue(self, now: DateTime<Utc>) -> (Token, TokenSecret) {
        let secret = TokenSecret::generate(self.kind);
        let token = Token {
            id: self.id,
            kind: self.kind,
            hash: secret.hash(),
            prefix: secret.display_prefix(),
            previous: None,
            organization_id: self.organization_id,
            workspace_id: self.workspace_id,
            user_id: self.user_id,
            name: self.name,
            maker_organization_id: Some(self.maker.organization_id),
            own_role: self.own_role,
            role: self.maker.lends(self.own_role),
            all_workspaces: self.maker.all_workspaces,
            scopes: self.scopes,
            state: TokenState::Active,
            expires_at: self.expires_at,
            requests_per_minute: self.requests_per_minute,
            is_raised_by_operator: self.is_raised_by_operator,
            place: None,
            expiry_recorded: false,
            created_at: now,
            revision: 1,
            usage_count: 0,
            last_used_at: None,
            used_hour: 0,
        };
        (token, secret)
    }
}

impl Token {
    /// Returns `true` if a use of the token at `now` is the first in its hour, so that the token's log gets a row.
    pub fn is_first_use(&self, now: DateTime<Utc>) -> bool {
        self.used_hour < Self::hour(now)
    }

    /// The hour since 1970 that `now` is in.
    pub fn hour(now: DateTime<Utc>) -> i64 {
        now.timestamp().div_euclid(3600)
    }

    /// Returns `true` if this is its secret, or the one of before while its grace lasts.
    pub fn accepts(&self, hash: TokenHash, now: DateTime<Utc>) -> bool {
        self.hash == hash
            || self
                .previous_at(now)
                .is_some_and(|previous| previous.hash == hash)
    }

    /// The secret of before, if it is still good.
    pub fn previous_at(&self, now: DateTime<Utc>) -> Option<&PreviousSecret> {
        self.previous
            .as_ref()
            .filter(|previous| now < previous.valid_until)
    }

    /// The requests that it may make in a minute, where its dialect allows `common`.
    pub fn requests_per_minute(&self, common: u32) -> u32 {
        match self.requests_per_minute {
            Some(own) if self.is_raised_by_operator => own,
            Some(own) => own.min(common),
            None => common,
        }
    }

    /// The hashes of the secrets that lead to it.
    pub fn hashes(&self) -> impl Iterator<Item = TokenHash> {
        let previous = self.previous.as_ref().map(|previous| previous.hash);
        std::iter::once(self.hash).chain(previous)
    }

    pub fn status(&self, now: DateTime<Utc>) -> TokenStatus {
        match self.state {
            TokenState::Revoked | TokenState::Deleted => TokenStatus::Revoked,
            _ if self.expires_at.is_some_and(|at| at <= now) => TokenStatus::Expired,
            TokenState::Inactive => TokenStatus::Inactive,
            TokenState::Active => TokenStatus::Active,
        }
    }
}

/// The six things that the audit log of a Prodgy token records (Prodgy's developer FAQ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenAction {
    Created,
    Used,
    Revoked,
    Expired,
    Renewed,
    Regenerated,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_reads_back_and_anything_else_is_refused() {
        for kind in TokenKind::ALL {
            let secret = TokenSecret::generate(kind);
            let parsed = TokenSecret::parse(secret.expose()).expect("its own text");
            assert_eq!((parsed.kind(), parsed.hash()), (kind, secret.hash()));
            assert!(!format!("{secret:?}").contains(&secret.expose()[kind.prefix().len()..]));
        }
        for wrong in [
            "",
            "prodgy_",
            "prodgy_short",
            "prodgy_k8d9Jf2kL9mP3qR4sT5uV6wX7yZ8aB9é",
            "PRODGY_k8d9Jf2kL9mP3qR4sT5uV6wX7yZ8aB9c",
        ] {
            assert!(TokenSecret::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_hash_survives_its_text_form() {
        let hash = TokenSecret::generate(TokenKind::Prowpt).hash();
        assert_eq!(TokenHash::try_from(hash.to_string()), Ok(hash));
    }
}
