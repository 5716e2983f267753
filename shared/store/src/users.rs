//! People and their addresses.

use domain::audit::AuditEntry;
use domain::identity::{Email, Member, Organization, Session, User, Workspace};
use domain::ids::UserId;
use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::item::{NewItem, entity, revision};
use crate::transaction::Condition;
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

    /// Finds who signs in with this address. An unknown one costs the same two reads, so that time does not tell.
    pub async fn user_by_email(&self, email: &Email) -> Result<Option<User>> {
        let key = keys::email(email.as_str());
        let owner = self
            .get_entity::<EmailOwner>(&self.tables.records, &key)
            .await?;
        let no_user = UserId::first_at(chrono::DateTime::UNIX_EPOCH);
        self.user(owner.map_or(no_user, |owner| owner.user_id))
            .await
    }

    /// Creates a user with an organization of their own, all or nothing.
    ///
    /// # Errors
    /// `Invalid` naming `email` when the address is registered already.
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
    /// Lets the rest happen only while the user is as it was read.
    pub(crate) fn check_user(&mut self, user: &User) {
        let records = self.store().tables.records.clone();
        let condition = Condition::revision(user.revision);
        self.check(&records, &keys::user(user.id), condition, || {
            Error::Unauthenticated("the account was changed meanwhile; try again".to_owned())
        });
    }

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
        self.delete(
            &records,
            &keys::email(email.as_str()),
            Condition::none(),
            || Error::NotFound("user"),
        );
        self.delete(&records, &keys::user(id), Condition::none(), || {
            Error::NotFound("user")
        });
    }
}
