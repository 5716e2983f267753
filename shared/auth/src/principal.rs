//! The principal that a request acts for.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::access::{Holding, Role, grants, least_role};
use domain::audit::Caller;
use domain::ids::{
    AppUserId, OAuthGrantId, OrganizationId, SessionId, TokenId, UserId, WorkspaceId,
};
use domain::token::TokenKind;
use domain::{Error, Result};

/// The credential that the request showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    Session(SessionId),
    Token(TokenId, TokenKind),
    /// A client that a user has let in. It has scopes, as a key has.
    OAuth(OAuthGrantId),
    AppUser(AppUserId),
    /// The platform itself, for the named job.
    Service(&'static str),
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => id.fmt(formatter),
            Self::Token(id, _) => id.fmt(formatter),
            Self::OAuth(id) => id.fmt(formatter),
            Self::AppUser(id) => id.fmt(formatter),
            Self::Service(name) => name.fmt(formatter),
        }
    }
}

/// A caller whose credential was found good, with the tenant that it may touch.
#[derive(Clone, Debug)]
pub struct Principal {
    pub identity: Identity,
    /// The user, or for a token the one who made it; `None` for a caller who is no user of the platform.
    pub user_id: Option<UserId>,
    pub organization_id: OrganizationId,
    /// The organization that the user belongs to: another one only for a super admin who named it.
    pub home_organization_id: OrganizationId,
    /// The revision of the session's membership; `None` for a token.
    pub member_revision: Option<u64>,
    /// The workspace of this request.
    pub workspace_id: WorkspaceId,
    /// The caller's role: a member's, or a token's, which is never above that of the member who made it.
    pub role: Role,
    /// The workspaces that the calling member, or the maker of the token, may use; `None` means all of the organization. For a
    /// token whose maker may use only some, this is the token's own workspace alone.
    pub workspaces: Option<Vec<WorkspaceId>>,
    /// Of a key; empty otherwise.
    pub scopes: Vec<String>,
    /// The end of the credential.
    pub expires_at: Option<DateTime<Utc>>,
    /// The caller for the logs.
    pub audit_context: Caller,
}

impl Principal {
    /// `Ok` when the key carries the scope and the caller has the role that it needs. Sessions have roles alone.
    pub fn require_scope(&self, scope: &str) -> Result<()> {
        let has_role_alone = match self.identity {
            Identity::Session(_) | Identity::Service(_) => true,
            Identity::Token(_, kind) => kind.has_role(),
            Identity::OAuth(_) | Identity::AppUser(_) => false,
        };
        if !has_role_alone && !grants(&self.scopes, scope) {
            return Err(Error::Forbidden(format!("Missing scope: {scope}")));
        }
        self.require_role(least_role(scope))
    }

    /// The user who acts, or for whom the caller acts.
    ///
    /// # Errors
    /// `Forbidden` for a caller who is no user of the platform.
    pub fn user(&self) -> Result<UserId> {
        self.user_id
            .ok_or_else(|| Error::Forbidden("this needs a user of the platform".to_owned()))
    }

    pub fn require_role(&self, role: Role) -> Result<()> {
        self.role.require(role)
    }

    /// `Ok` when the caller has the role in all workspaces: for what concerns the organization as a whole.
    pub fn require_role_everywhere(&self, role: Role) -> Result<()> {
        self.holding().require_role_everywhere(role)
    }

    /// Tells whether the member who calls, or who made the token, may use a workspace of the organization.
    pub fn may_use(&self, workspace: WorkspaceId) -> bool {
        self.holding().may_use(workspace)
    }

    /// The rights that the caller may hand on.
    pub fn holding(&self) -> Holding<'_> {
        Holding {
            role: self.role,
            workspaces: self.workspaces.as_deref(),
        }
    }

    /// The session, where nothing else will do. A token is refused as if it were unknown (Prodgy's endpoint list).
    pub fn require_session(&self) -> Result<SessionId> {
        match self.identity {
            Identity::Session(id) => Ok(id),
            _ => Err(Error::Unauthenticated(
                "this needs a user session".to_owned(),
            )),
        }
    }

    pub fn token_id(&self) -> Option<TokenId> {
        match self.identity {
            Identity::Token(id, _) => Some(id),
            _ => None,
        }
    }
}
