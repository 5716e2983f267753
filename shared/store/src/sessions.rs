//! Sign-ins, in the counters table: they end by themselves, and are read with every request of their user.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::identity::{Session, User};
use domain::ids::{SessionId, UserId};

use crate::attributes::{EXPIRES, REFRESH_HASH};
use crate::aws_calls::{Call, aws_error, condition_failure};
use crate::item::{NewItem, entity, number, text};
use crate::{Store, Transaction, keys};

/// The time that the networks are remembered from which a user has signed in.
const NETWORK_KNOWN_FOR: TimeDelta = TimeDelta::days(90);

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

    /// Replaces `seen` by `session`, which has the refresh token that follows. The refusal is the session as it stands when
    /// `seen` does not any more; `None` when it is over.
    pub async fn rotate_session(
        &self,
        seen: &Session,
        session: &Session,
    ) -> Result<Result<(), Option<Session>>> {
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.counters)
            .set_item(Some(new_item(session)?.item))
            .condition_expression(format!("{REFRESH_HASH} = :seen"))
            .expression_attribute_values(":seen", AttributeValue::S(seen.refresh_hash.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.sent().await {
            Ok(_) => Ok(Ok(())),
            Err(error) => match condition_failure(&error) {
                // The SDK may have sent it twice, and the first one have got through; or another request with the same token has
                // come to the same one.
                Some(stored) if text(stored, REFRESH_HASH) == Some(&session.refresh_hash) => {
                    Ok(Ok(()))
                }
                Some(stored) if stored.is_empty() => Ok(Err(None)),
                Some(stored) => Ok(Err(Some(entity(stored)?))),
                None => Err(aws_error(error)),
            },
        }
    }

    /// Returns `true` if a user has signed in from a network lately.
    pub async fn is_known_network(
        &self,
        user: UserId,
        network: &str,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let key = keys::known_network(user, network);
        let item = self.get_item(&self.tables.counters, &key).await?;
        Ok(item.is_some_and(|item| number(&item, EXPIRES) > now.timestamp()))
    }

    /// Ends a session. Ending one that is over is no error.
    pub async fn end_session(&self, id: SessionId) -> Result<()> {
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::session(id).attributes()));
        delete.sent().await.map_err(aws_error)?;
        Ok(())
    }
}

impl Transaction<'_> {
    pub(crate) fn put_session(&mut self, session: &Session) {
        let counters = self.store().tables.counters.clone();
        self.overwrite(&counters, new_item(session));
        if let Some(network) = &session.network {
            let key = keys::known_network(session.user_id, network);
            let expires = session.created_at + NETWORK_KNOWN_FOR;
            let item = NewItem::new(key, "known_network", &()).map(|item| item.expires(expires));
            self.overwrite(&counters, item);
        }
    }
}

fn new_item(session: &Session) -> Result<NewItem> {
    let mut item =
        NewItem::new(keys::session(session.id), "session", session)?.expires(session.expires_at);
    let hash = AttributeValue::S(session.refresh_hash.clone());
    item.item.insert(REFRESH_HASH.to_owned(), hash);
    Ok(item)
}
