//! An organization's keys for providers of models.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::audit::AuditEntry;
use domain::credential::Credential;
use domain::ids::{CredentialId, OrganizationId};
use domain::page::{Page, PageRequest};

use crate::item::{Item, NewItem, aws_error, entity, number, revision, sent};
use crate::list::List;
use crate::{Store, keys};

/// Uses within this time of each other count as one.
const SAME_USE: TimeDelta = TimeDelta::minutes(1);
/// The attribute for what a credential's service refuses.
const UNSUPPORTED: &str = "unsupported";
/// How much is remembered of what a credential's service refuses: every request that uses it reads this.
const MOST_UNSUPPORTED: usize = 64;

impl Store {
    pub async fn credential(
        &self,
        organization: OrganizationId,
        id: CredentialId,
    ) -> Result<Option<Credential>> {
        let item = self
            .get_item(&self.tables.records, &keys::credential(organization, id))
            .await?;
        item.as_ref().map(read_credential).transpose()
    }

    /// An organization's credentials, newest first, revoked ones included.
    pub async fn credentials(
        &self,
        organization: OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Credential>> {
        let list = List::new(&self.tables.records, keys::credentials(organization));
        self.page(&list, page, read_credential).await
    }

    pub async fn create_credential(
        &self,
        credential: &Credential,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_revision(credential_item(credential), None);
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Replaces a credential that was read at `credential.revision`.
    pub async fn update_credential(
        &self,
        credential: &Credential,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_revision(credential_item(credential), Some(credential.revision));
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Notes that a credential is used, to the minute: most calls of a busy one write nothing.
    pub async fn record_credential_use(
        &self,
        credential: &Credential,
        now: DateTime<Utc>,
    ) -> Result<()> {
        if credential
            .last_used_at
            .is_some_and(|at| now - at < SAME_USE)
        {
            return Ok(());
        }
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(
                keys::credential(credential.organization_id, credential.id).attributes(),
            ))
            .update_expression("SET last_used_at = :now")
            .condition_expression(format!("attribute_exists({})", keys::PARTITION))
            .expression_attribute_values(
                ":now",
                AttributeValue::N(now.timestamp_millis().to_string()),
            );
        sent_if_there(update).await
    }

    /// Remembers what a credential's service refuses, up to a limit. Nothing happens when the credential is gone.
    pub async fn remember_unsupported(
        &self,
        organization: OrganizationId,
        id: CredentialId,
        entries: Vec<String>,
    ) -> Result<()> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::credential(organization, id).attributes()))
            .update_expression(format!("ADD {UNSUPPORTED} :entries"))
            .condition_expression(format!(
                "attribute_exists({}) AND (attribute_not_exists({UNSUPPORTED}) OR size({UNSUPPORTED}) < :most)",
                keys::PARTITION
            ))
            .expression_attribute_values(":entries", AttributeValue::Ss(entries))
            .expression_attribute_values(
                ":most",
                AttributeValue::N(MOST_UNSUPPORTED.to_string()),
            );
        sent_if_there(update).await
    }
}

/// Writes to a credential that may be gone meanwhile, and with it whom this would tell.
async fn sent_if_there(update: UpdateItemFluentBuilder) -> Result<()> {
    match sent(update.send()).await {
        Ok(_) => Ok(()),
        Err(SdkError::ServiceError(error))
            if matches!(
                error.err(),
                UpdateItemError::ConditionalCheckFailedException(_)
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(aws_error(error)),
    }
}

fn credential_item(credential: &Credential) -> Result<NewItem> {
    let key = keys::credential(credential.organization_id, credential.id);
    let item = NewItem::new(key, "credential", credential)?;
    let mut item = match credential.last_used_at {
        Some(at) => item.number("last_used_at", at.timestamp_millis()),
        None => item,
    };
    if !credential.unsupported.is_empty() {
        let entries = credential.unsupported.iter().cloned().collect();
        item.item
            .insert(UNSUPPORTED.to_owned(), AttributeValue::Ss(entries));
    }
    Ok(item)
}

fn read_credential(item: &Item) -> Result<Credential> {
    let unsupported = item.get(UNSUPPORTED).and_then(|value| value.as_ss().ok());
    Ok(Credential {
        revision: revision(item),
        last_used_at: DateTime::from_timestamp_millis(number(item, "last_used_at"))
            .filter(|at| at.timestamp_millis() > 0),
        unsupported: unsupported.into_iter().flatten().cloned().collect(),
        ..entity(item)?
    })
}
