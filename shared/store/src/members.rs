//! Who belongs to an organization, and who is invited to.

use chrono::{DateTime, Utc};
use domain::audit::AuditEntry;
use domain::identity::{Member, MemberStatus, Organization, Session, User};
use domain::ids::{OrganizationId, UserId};
use domain::page::{Page, PageRequest};
use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::item::{Item, List, NewItem, entity};
use crate::organizations::revision;
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
        let list = List::new(&self.tables.records, keys::members(organization));
        self.page(&list, page, read_member, |member| {
            member.user_id.to_string()
        })
        .await
    }

    /// All members: for rules that concern the organization as a whole.
    pub async fn all_members(&self, organization: OrganizationId) -> Result<Vec<Member>> {
        let items = self
            .collection(&self.tables.records, &keys::members(organization), "", "")
            .await?;
        items.iter().map(read_member).collect()
    }

    /// Adds a pending member and the invitation that turns it into a user. `code_hash` is SHA-256 of the code.
    pub async fn invite(
        &self,
        member: &Member,
        invitation: &Invitation,
        code_hash: &str,
        audit: &AuditEntry,
    ) -> Result<()> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        transaction.put_member(member, None);
        let item = NewItem::new(keys::invitation(code_hash), "invitation", invitation);
        transaction.create(records, item, || {
            Error::Conflict("the invitation exists already".to_owned())
        });
        transaction.audit(audit);
        transaction.commit().await
    }

    pub async fn invitation(&self, code_hash: &str) -> Result<Option<Invitation>> {
        self.get_entity(&self.tables.records, &keys::invitation(code_hash))
            .await
    }

    /// Turns an invitation into a user: once.
    pub async fn accept_invitation(
        &self,
        code_hash: &str,
        user: &User,
        member: &Member,
        session: &Session,
        audit: &AuditEntry,
    ) -> Result<()> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        transaction.create_user(user);
        transaction.put_member(member, Some(member.revision));
        let exists = (
            format!("attribute_exists({})", keys::PARTITION),
            Item::new(),
        );
        transaction.delete(records, &keys::invitation(code_hash), Some(exists), || {
            Error::invalid("invitation", "is not valid any more")
        });
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
        let exists = (
            format!("attribute_exists({})", keys::PARTITION),
            Item::new(),
        );
        let key = keys::member(member.organization_id, member.user_id);
        transaction.delete(records, &key, Some(exists), || Error::NotFound("member"));
        if member.status == MemberStatus::Active {
            transaction.delete_user(member.user_id, &member.email);
        }
        transaction.audit(audit);
        transaction.commit().await
    }
}

impl Transaction<'_> {
    pub(crate) fn put_member(&mut self, member: &Member, seen: Option<u64>) {
        self.put_revision(
            NewItem::new(
                keys::member(member.organization_id, member.user_id),
                "member",
                member,
            ),
            seen,
        );
    }
}

fn read_member(item: &Item) -> Result<Member> {
    Ok(Member {
        revision: revision(item),
        ..entity(item)?
    })
}
