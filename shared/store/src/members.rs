//! The members of an organization, and the invitations to it.

use chrono::{DateTime, Utc};
use domain::audit::AuditEntry;
use domain::identity::{Member, MemberStatus, Organization, Session, User};
use domain::ids::{OrganizationId, UserId};
use domain::page::{Page, PageRequest};
use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::item::{Item, NewItem, entity, readable, revision};
use crate::list::List;
use crate::list::Total;
use crate::transaction::{Condition, stale};
use crate::{Store, Transaction, keys};

/// Leads from the code that an invitation was sent with to the member that waits for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub expires_at: DateTime<Utc>,
}

impl Store {
    pub async fn member(
        &self,
        organization: OrganizationId,
        user: UserId,
    ) -> Result<Option<Member>> {
        let item = self
            .get_item(&self.tables.records, &keys::member(organization, user))
            .await?;
        item.as_ref().map(read_member).transpose()
    }

    pub async fn members(
        &self,
        organization: OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Member>> {
        let list = List {
            total: Total::Kept,
            ..List::new(&self.tables.records, keys::members(organization))
        };
        self.page(&list, page, read_member).await
    }

    /// All members: for rules that concern the organization as a whole.
    pub async fn all_members(&self, organization: OrganizationId) -> Result<Vec<Member>> {
        let items = self
            .collection(&self.tables.records, &keys::members(organization), "", "")
            .await?;
        let members = items.iter().filter_map(|item| readable(item, read_member));
        Ok(members.collect())
    }

    /// Writes a pending member and the invitation that turns it into a user, by the code whose hash the member has. It replaces
    /// `seen` where the address was invited before, whose code ends. `organization` guards rules over all members: the write fails
    /// when the membership or the workspaces changed since it was read.
    pub async fn invite(
        &self,
        organization: &Organization,
        seen: Option<&Member>,
        member: &Member,
        invitation: &Invitation,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_organization(organization, Some(organization.revision));
        transaction.put_member(member, seen.map(|seen| seen.revision));
        if let Some(seen) = seen {
            transaction.end_invitation(seen);
        }
        transaction.put_invitation(invitation, member);
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Replaces the pending member `seen` by one that has no invitation any more.
    pub async fn cancel_invitation(
        &self,
        organization: &Organization,
        seen: &Member,
        member: &Member,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_organization(organization, Some(organization.revision));
        transaction.put_member(member, Some(seen.revision));
        transaction.end_invitation(seen);
        transaction.audit(audit);
        transaction.commit().await
    }

    pub async fn invitation(&self, code_hash: &str) -> Result<Option<Invitation>> {
        self.get_entity(&self.tables.records, &keys::invitation(code_hash))
            .await
    }

    /// Turns an invitation into a user: once. `organization` guards against a removal at the same time.
    pub async fn accept_invitation(
        &self,
        organization: &Organization,
        code_hash: &str,
        user: &User,
        member: &Member,
        session: &Session,
        audit: &AuditEntry,
    ) -> Result<()> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        transaction.create_user(user);
        transaction.put_organization(organization, Some(organization.revision));
        transaction.put_member(member, Some(member.revision));
        transaction.delete(
            records,
            &keys::invitation(code_hash),
            Condition::exists(),
            || Error::invalid("invitation", "is not valid any more"),
        );
        transaction.put_session(session);
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Changes a member. `organization` guards rules over all members: the write fails when the membership changed since
    /// it was read.
    pub async fn update_member(
        &self,
        organization: &Organization,
        member: &Member,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_organization(organization, Some(organization.revision));
        transaction.put_member(member, Some(member.revision));
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Removes a member and, when there is one, the user with the address.
    pub async fn remove_member(
        &self,
        organization: &Organization,
        member: &Member,
        audit: &AuditEntry,
    ) -> Result<()> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        transaction.put_organization(organization, Some(organization.revision));
        let key = keys::member(member.organization_id, member.user_id);
        transaction.delete(records, &key, Condition::revision(member.revision), stale);
        transaction.count(&keys::members(member.organization_id), -1);
        if member.status == MemberStatus::Active {
            transaction.delete_user(member.user_id, &member.email);
        }
        transaction.audit(audit);
        transaction.commit().await
    }
}

impl Transaction<'_> {
    /// Lets the rest happen only while the member is as it was read.
    pub(crate) fn check_member(
        &mut self,
        organization: OrganizationId,
        user: UserId,
        revision: u64,
    ) {
        let records = self.store().tables.records.clone();
        let key = keys::member(organization, user);
        self.check(&records, &key, Condition::revision(revision), || {
            Error::Conflict("your membership was changed meanwhile; try again".to_owned())
        });
    }

    fn put_invitation(&mut self, invitation: &Invitation, member: &Member) {
        let records = self.store().tables.records.clone();
        let hash = member.invitation_hash.as_deref().unwrap_or_default();
        let item = NewItem::new(keys::invitation(hash), "invitation", invitation)
            .map(|item| item.expires(invitation.expires_at));
        self.create(&records, item, || {
            Error::Conflict("the invitation exists already".to_owned())
        });
    }

    /// Ends the code that a member may join with, if there is one.
    pub(crate) fn end_invitation(&mut self, member: &Member) {
        if let Some(hash) = &member.invitation_hash {
            let records = self.store().tables.records.clone();
            let key = keys::invitation(hash);
            self.delete(&records, &key, Condition::none(), stale);
        }
    }

    pub(crate) fn put_member(&mut self, member: &Member, seen: Option<u64>) {
        self.put_revision(
            NewItem::new(
                keys::member(member.organization_id, member.user_id),
                "member",
                member,
            ),
            seen,
        );
        if seen.is_none() {
            self.count(&keys::members(member.organization_id), 1);
        }
    }
}

fn read_member(item: &Item) -> Result<Member> {
    Ok(Member {
        revision: revision(item),
        ..entity(item)?
    })
}
