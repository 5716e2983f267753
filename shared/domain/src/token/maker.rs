//! Tokens follow their makers: a token may do only what the person who made it may do now.

use super::{Token, TokenState};
use crate::access::Role;
use crate::identity::{Member, MemberStatus};
use crate::ids::{OrganizationId, WorkspaceId};

/// The rights of a token's maker in the token's organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// The organization that the maker belongs to.
    pub organization_id: OrganizationId,
    pub role: Role,
    /// `true` if the maker may use all workspaces of the token's organization.
    pub all_workspaces: bool,
}

impl Maker {
    /// The maker of tokens of a workspace; `None` when the member may not use it. A super admin acts as an administrator in the
    /// organizations of others.
    pub fn of(
        member: &Member,
        organization: OrganizationId,
        workspace: WorkspaceId,
    ) -> Option<Self> {
        if member.status != MemberStatus::Active {
            return None;
        }
        let is_home = member.organization_id == organization;
        let may = if is_home {
            member.may_use(workspace)
        } else {
            member.role == Role::SuperAdmin
        };
        may.then(|| Self {
            organization_id: member.organization_id,
            role: if is_home { member.role } else { Role::Admin },
            all_workspaces: !is_home || member.workspaces.is_none(),
        })
    }

    /// The role of a token that has `own` for itself.
    pub fn lends(&self, own: Option<Role>) -> Role {
        own.map_or(self.role, |own| own.min(self.role))
    }
}

impl Token {
    /// The token as it has to be for a maker whose membership is `member`, which is `None` for a maker who belongs to no
    /// organization any more. The result is `None` when the token is so already. A token whose workspace its maker may not use any
    /// more is revoked.
    pub fn follow(&self, member: Option<&Member>) -> Option<Self> {
        if self.state == TokenState::Revoked {
            return None;
        }
        let maker =
            member.and_then(|member| Maker::of(member, self.organization_id, self.workspace_id));
        let Some(maker) = maker else {
            return Some(Self {
                state: TokenState::Revoked,
                previous: None,
                ..self.clone()
            });
        };
        // A Prodgy token from before it had a role of its own beside the one that it acts with.
        let is_older = self.maker_organization_id.is_none() && self.kind.has_role();
        let own_role = self.own_role.or(is_older.then_some(self.role));
        let role = maker.lends(own_role);
        let is_so = (self.role, self.all_workspaces) == (role, maker.all_workspaces)
            && self.maker_organization_id == Some(maker.organization_id);
        (!is_so).then(|| Self {
            maker_organization_id: Some(maker.organization_id),
            own_role,
            role,
            all_workspaces: maker.all_workspaces,
            ..self.clone()
        })
    }
}
