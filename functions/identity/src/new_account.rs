//! The parts of a new account.

use chrono::{DateTime, Utc};
use domain::Result;
use domain::access::Role;
use domain::identity::{Email, Member, MemberStatus, Organization, User, Workspace};
use domain::ids::{OrganizationId, UserId, WorkspaceId};
use domain::text::{Description, Name};

/// A user with an organization, a workspace and a membership of their own, ready for `Store::register`.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub user: User,
    pub organization: Organization,
    pub workspace: Workspace,
    pub member: Member,
}

impl NewAccount {
    /// The user becomes the organization's administrator.
    pub fn new(
        email: Email,
        name: Name,
        organization: Name,
        password_hash: String,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let workspace_id = WorkspaceId::new(now);
        let organization = Organization {
            id: OrganizationId::new(now),
            name: organization,
            default_workspace_id: workspace_id,
            created_at: now,
            revision: 0,
        };
        let workspace = Workspace {
            id: workspace_id,
            organization_id: organization.id,
            name: Name::for_field("name", "Default")?,
            description: Description::default(),
            created_at: now,
            revision: 0,
        };
        let user = User {
            id: UserId::new(now),
            email: email.clone(),
            name: name.clone(),
            organization_id: organization.id,
            password_hash,
            created_at: now,
            revision: 0,
        };
        let member = Member {
            organization_id: organization.id,
            user_id: user.id,
            email,
            name,
            role: Role::Admin,
            status: MemberStatus::Active,
            workspaces: None,
            default_workspace_id: workspace_id,
            password_version: 0,
            invitation_hash: None,
            created_at: now,
            revision: 0,
        };
        Ok(Self {
            user,
            organization,
            workspace,
            member,
        })
    }
}
