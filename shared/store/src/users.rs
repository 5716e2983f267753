//! People and their addresses.

use domain::audit::AuditEntry;
use domain::identity::{Email, Member, Organization, Session, User, Workspace};
use domain::ids::UserId;
use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::item::{NewItem, entity};
use crate::organizations::revision;
use crate::{Store, Transaction, keys};

/// The companion item that makes an address unique.
#[derive(Serialize, Deserialize)]
struct EmailOwner {
    user_id: UserId,
}

impl Store {
    pub async fn user(&self, id: UserId) -> Result<Option<User>> {
        let item = self.get_item(&self.tables.records, &keys::user(id)).await?;
        item.map(|item| {
            Ok(User {
                revision: revision(&item),
                ..entity(&item)?
            })
        })
        .transpose()
    }

    /// Finds who signs in with this address.
    pub async fn user_by_email(&self, email: &Email) -> Result<Option<User>> {
        match self
            .get_entity::<EmailOwner>(&self.tables.records, &keys::email(email.as_str()))
            .await?
        {
            Some(owner) => self.user(owner.user_id).await,
            None => Ok(None),
        }
    }

    /// Creates a user with an organization of their own, all or nothing.
    ///
    /// # Errors
    /// `Invalid` naming `email` when somebody has the address already.
    pub async fn register(
        &self,
        user: &User,
        organization: &Organization,
        workspace: &Workspace,
        member: &Member,
        session: Option<&Session>,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.create_user(user);
        transaction.put_organization(organization, None);
        transaction.put_workspace(workspace, None);
        transaction.put_member(member, None);
        if let Some(session) = session {
            transaction.put_session(session);
        }
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Replaces a user read at `user.revision`, and the member row beside it: a new password ends the sessions of before.
    pub async fn change_password(
        &self,
        user: &User,
        member: &Member,
        session: Option<&Session>,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_revision(
            NewItem::new(keys::user(user.id), "user", user),
            Some(user.revision),
        );
        transaction.put_member(member, Some(member.revision));
        if let Some(session) = session {
            transaction.put_session(session);
        }
        transaction.audit(audit);
        transaction.commit().await
    }
}

impl Transaction<'_> {
    pub(crate) fn create_user(&mut self, user: &User) {
        let records = self.store().tables.records.clone();
        let owner = NewItem::new(
            keys::email(user.email.as_str()),
            "email",
            &EmailOwner { user_id: user.id },
        );
        // First, so that its failure is the one reported.
        self.create(&records, owner, || {
            Error::invalid("email", "is already registered")
        });
        self.put_revision(NewItem::new(keys::user(user.id), "user", user), None);
    }

    pub(crate) fn delete_user(&mut self, id: UserId, email: &Email) {
        let records = self.store().tables.records.clone();
        self.delete(&records, &keys::email(email.as_str()), None, || {
            Error::NotFound("user")
        });
        self.delete(&records, &keys::user(id), None, || Error::NotFound("user"));
    }
}
