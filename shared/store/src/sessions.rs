//! Sign-ins, in the counters table: they end by themselves, and are read with every request of their user.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::Result;
use domain::identity::Session;
use domain::ids::SessionId;

use crate::item::{Item, NewItem, aws_error};
use crate::{Store, Transaction, keys};

impl Store {
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>> {
        self.get_entity(&self.tables.counters, &keys::session(id))
            .await
    }

    pub async fn create_session(&self, session: &Session) -> Result<()> {
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.counters)
            .set_item(Some(new_item(session)?.item));
        put.send().await.map_err(aws_error)?;
        Ok(())
    }

    /// Replaces a session's refresh token. `false` when `seen_hash` is not the good one any more: it was used before.
    pub async fn rotate_session(&self, session: &Session, seen_hash: &str) -> Result<bool> {
        let sent = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.counters)
            .set_item(Some(new_item(session)?.item))
            .condition_expression("refresh_hash = :seen")
            .expression_attribute_values(":seen", AttributeValue::S(seen_hash.to_owned()))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error))
                if matches!(
                    error.err(),
                    PutItemError::ConditionalCheckFailedException(_)
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(aws_error(error)),
        }
    }

    /// Ends a session. Ending one that is over is no error.
    pub async fn end_session(&self, id: SessionId) -> Result<()> {
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::session(id).attributes()));
        delete.send().await.map_err(aws_error)?;
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
    Item::insert(&mut item.item, "refresh_hash".to_owned(), hash);
    Ok(item)
}
