//! Sign-ins, in the counters table: they end by themselves, and are read with every request of their user.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use domain::Result;
use domain::identity::{Session, User};
use domain::ids::SessionId;

use crate::item::{NewItem, aws_error, refused_by, sent, text};
use crate::{Store, Transaction, keys};

impl Store {
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>> {
        self.get_entity(&self.tables.counters, &keys::session(id))
            .await
    }

    /// Creates a session for a user whose password was checked against the row as read.
    ///
    /// # Errors
    /// `Unauthenticated` when the user was changed since.
    pub async fn create_session(&self, session: &Session, user: &User) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.check_user(user);
        transaction.put_session(session);
        transaction.commit().await
    }

    /// Replaces a session's refresh token. `false` when `seen_hash` is not the good one any more: it was used before.
    pub async fn rotate_session(&self, session: &Session, seen_hash: &str) -> Result<bool> {
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.counters)
            .set_item(Some(new_item(session)?.item))
            .condition_expression("refresh_hash = :seen")
            .expression_attribute_values(":seen", AttributeValue::S(seen_hash.to_owned()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match sent(put.send()).await {
            Ok(_) => Ok(true),
            Err(error) => match refused_by(&error) {
                // The SDK may have sent it twice, and the first one have got through.
                Some(stored) => Ok(text(stored, "refresh_hash") == Some(&session.refresh_hash)),
                None => Err(aws_error(error)),
            },
        }
    }

    /// Ends a session. Ending one that is over is no error.
    pub async fn end_session(&self, id: SessionId) -> Result<()> {
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::session(id).attributes()));
        sent(delete.send()).await.map_err(aws_error)?;
        Ok(())
    }
}

impl Transaction<'_> {
    pub(crate) fn put_session(&mut self, session: &Session) {
        let counters = self.store().tables.counters.clone();
        self.overwrite(&counters, new_item(session));
    }
}

fn new_item(session: &Session) -> Result<NewItem> {
    let mut item =
        NewItem::new(keys::session(session.id), "session", session)?.expires(session.expires_at);
    let hash = AttributeValue::S(session.refresh_hash.clone());
    item.item.insert("refresh_hash".to_owned(), hash);
    Ok(item)
}
