//! Organizations, workspaces, users and their sessions.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::access::Role;
use crate::ids::{OrganizationId, SessionId, UserId, WorkspaceId};
use crate::text::{Description, Name};

/// The tenant.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Organization {
    pub id: OrganizationId,
    pub name: Name,
    /// Its oldest workspace.
    pub default_workspace_id: WorkspaceId,
    pub created_at: DateTime<Utc>,
    /// Counts changes of the organization and of its membership.
    #[serde(skip_serializing)]
    #[serde(default)]
    pub revision: u64,
}

/// A part of an organization with agents, tokens and data of its own. Prodgy calls it a product.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub organization_id: OrganizationId,
    pub name: Name,
    pub description: Description,
    pub created_at: DateTime<Utc>,
    /// Counts writes of this row.
    #[serde(skip_serializing)]
    #[serde(default)]
    pub revision: u64,
}

/// A person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub email: Email,
    pub name: Name,
    /// The organization that the user signs in to.
    pub organization_id: OrganizationId,
    /// Argon2id, in PHC string form.
    pub password_hash: String,
    pub created_at: DateTime<Utc>,
    pub revision: u64,
}

/// That a user belongs to an organization.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub email: Email,
    pub name: Name,
    pub role: Role,
    pub status: MemberStatus,
    /// The workspaces that the member may use; `None` means all of the organization.
    pub workspaces: Option<Vec<WorkspaceId>>,
    /// The organization's oldest workspace, which a session uses when it names none.
    pub default_workspace_id: WorkspaceId,
    /// Counts the member's passwords. A session lasts as long as the password that it was made with.
    #[serde(default)]
    pub password_version: u64,
    /// SHA-256 of the code that the member may join with, in hexadecimal; `None` for all who are not `Pending`.
    #[serde(default)]
    pub invitation_hash: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Counts writes of this row; a write names the one that it has seen.
    pub revision: u64,
}

impl Member {
    /// The workspace to use when none is named: the oldest that the member may use.
    pub fn default_workspace(&self) -> Option<WorkspaceId> {
        match &self.workspaces {
            Some(granted) if !granted.contains(&self.default_workspace_id) => {
                granted.iter().min().copied()
            }
            _ => Some(self.default_workspace_id),
        }
    }

    /// The member once `deleted` is gone and `default` is the organization's oldest workspace; `None` when that changes nothing.
    pub fn without_workspace(&self, deleted: WorkspaceId, default: WorkspaceId) -> Option<Self> {
        let granted = self.workspaces.as_ref();
        let loses = granted.is_some_and(|granted| granted.contains(&deleted));
        if !loses && self.default_workspace_id != deleted {
            return None;
        }
        let mut changed = self.clone();
        changed.default_workspace_id = default;
        if let Some(granted) = &mut changed.workspaces {
            granted.retain(|granted| *granted != deleted);
        }
        Some(changed)
    }

    pub fn may_use(&self, workspace: WorkspaceId) -> bool {
        self.workspaces
            .as_ref()
            .is_none_or(|granted| granted.contains(&workspace))
    }

    /// Returns `true` if the member administers the whole organization.
    pub fn administers_all(&self) -> bool {
        self.status == MemberStatus::Active && self.role >= Role::Admin && self.workspaces.is_none()
    }
}

/// The status of an invitation (Prodgy's page on users).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum MemberStatus {
    Pending,
    Active,
    Cancelled,
}

/// A sign-in. It ends by logout, by a refresh token that is used again after its grace, or by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    pub organization_id: OrganizationId,
    /// SHA-256 of the refresh token that is good now, in hexadecimal.
    pub refresh_hash: String,
    /// The refresh tokens before it that may be on their way still, oldest first.
    #[serde(default)]
    pub replaced: Vec<ReplacedToken>,
    /// The member's [`Member::password_version`] when the session was made. A session that was stored without it is good for no
    /// member.
    #[serde(default = "no_password_version")]
    pub password_version: u64,
    /// The place that it was made from: an address, or the network of one.
    pub network: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

fn no_password_version() -> u64 {
    u64::MAX
}

/// A refresh token that was exchanged for the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedToken {
    /// SHA-256, in hexadecimal.
    pub hash: String,
    pub at: DateTime<Utc>,
}

impl Session {
    /// The time that a session lasts without a refresh.
    pub const IDLE_LIFETIME: TimeDelta = TimeDelta::days(30);
    /// The time that a session lasts at most.
    pub const LIFETIME: TimeDelta = TimeDelta::days(90);

    /// Returns `true` if `member` may still act by this session.
    pub fn is_good_for(&self, member: &Member, now: DateTime<Utc>) -> bool {
        self.user_id == member.user_id
            && self.expires_at > now
            && self.password_version == member.password_version
    }
}

/// An e-mail address in lower case, at most 254 characters, of the form `local@domain`. That it can be reached is shown
/// by mail, not by its form.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, format = "email", max_length = 254, example = "ada@example.com")]
pub struct Email(String);

impl Email {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "must be an e-mail address";
        let text = text.trim().to_lowercase();
        let (local, domain) = text.rsplit_once('@').ok_or(WRONG)?;
        let printable = |part: &str| {
            !part.is_empty()
                && !part
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || c == '@')
        };
        let labels_fine = domain.contains('.')
            && domain
                .split('.')
                .all(|label| !label.is_empty() && label.len() <= 63);
        if text.len() > 254
            || local.len() > 64
            || !printable(local)
            || !printable(domain)
            || !labels_fine
        {
            return Err(WRONG);
        }
        Ok(Self(text))
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

/// Logs must not carry addresses, and `Debug` is what ends up there.
impl std::fmt::Debug for Email {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Email(..)")
    }
}

/// A password that may be set: 8 to 128 characters with upper and lower case, a digit and another character (Prodgy's user FAQ).
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, format = "password", min_length = 8, max_length = 128, example = "Correct-horse-7")]
pub struct NewPassword(String);

impl NewPassword {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NewPassword {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let has = |class: fn(char) -> bool| text.chars().any(class);
        let length = text.chars().count();
        if !(8..=128).contains(&length) {
            return Err("must have 8 to 128 characters");
        }
        if !(has(char::is_uppercase)
            && has(char::is_lowercase)
            && has(|c| c.is_ascii_digit())
            && has(|c| !c.is_alphanumeric()))
        {
            return Err("must have upper case, lower case, a digit and a special character");
        }
        Ok(Self(text))
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NewPassword(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_lower_cased_and_shapes_that_cannot_be_one_refused() {
        assert_eq!(
            Email::try_from(" Ada@Example.COM ".to_owned())
                .unwrap()
                .as_str(),
            "ada@example.com"
        );
        for wrong in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "a b@example.com",
            "ada@exam\0ple.com",
            "ada@.com",
            "a@b@c.com",
        ] {
            assert!(Email::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_password_needs_length_and_four_classes() {
        assert!(NewPassword::try_from("Correct-horse-7".to_owned()).is_ok());
        for weak in [
            "Aa1!",
            "alllowercase1!",
            "NOLOWER1!",
            "NoDigits!!",
            "NoSpecial11",
            "",
        ] {
            assert!(NewPassword::try_from(weak.to_owned()).is_err(), "{weak}");
        }
        assert!(NewPassword::try_from("Aa1!".repeat(40)).is_err());
    }
}
