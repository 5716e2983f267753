//! Keys for providers of models. Which one a run uses is told by small items beside them: one for each active credential of a
//! workspace, and one for an organization's choice.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::audit::AuditEntry;
use domain::credential::{Credential, CredentialStatus, DefaultCredentials};
use domain::ids::{CredentialId, OrganizationId, WorkspaceId};
use domain::model::Provider;
use domain::page::{Page, PageRequest};

use crate::attributes::{LAST_USED_AT, UNSUPPORTED};
use crate::aws_calls::{Call, aws_error};
use crate::item::{Item, NewItem, entity, number, revision, sort_key};
use crate::keys::{self, Index};
use crate::list::List;
use crate::transaction::{Condition, stale};
use crate::{Store, Transaction};

/// Uses within this time of each other count as one.
const SAME_USE: TimeDelta = TimeDelta::minutes(1);
/// The size of the list of members that a credential's service refuses: every request that uses it reads this.
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

    /// A workspace's own credentials, newest first, revoked ones included.
    pub async fn credentials_of_workspace(
        &self,
        workspace: WorkspaceId,
        page: &PageRequest,
    ) -> Result<Page<Credential>> {
        let partition = keys::credentials_of(workspace);
        let list = List::of_index(&self.tables.records, Index::Children, partition);
        self.page(&list, page, read_credential).await
    }

    /// The newest active credential that a workspace has for a provider.
    pub async fn own_credential(
        &self,
        workspace: WorkspaceId,
        provider: Provider,
    ) -> Result<Option<CredentialId>> {
        let partition = keys::own_credentials(workspace, provider);
        let list = List::new(&self.tables.records, partition);
        let id = |item: &Item| sort_key(item).parse().map_err(domain::Error::internal);
        let newest = PageRequest::first(1);
        let found = self.page(&list, &newest, id);
        Ok(found.await?.items.pop())
    }

    pub async fn default_credentials(
        &self,
        organization: OrganizationId,
    ) -> Result<DefaultCredentials> {
        let key = keys::default_credentials(organization);
        let item = self.get_item(&self.tables.records, &key).await?;
        let Some(item) = item else {
            return Ok(DefaultCredentials::default());
        };
        Ok(DefaultCredentials {
            revision: Some(revision(&item)),
            ..entity(&item)?
        })
    }

    /// Creates a credential, together with the choice of it where it is to be a default.
    pub async fn create_credential(
        &self,
        credential: &Credential,
        choice: Option<&DefaultCredentials>,
        audit: &[AuditEntry],
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_revision(credential_item(credential), None);
        if let Some(workspace) = credential.workspace_id {
            let key = keys::own_credential(workspace, credential.provider, credential.id);
            let records = &self.tables.records;
            transaction.overwrite(records, NewItem::new(key, "own_credential", &credential.id));
        }
        if let Some(choice) = choice {
            transaction.put_choice(credential.organization_id, choice);
        }
        for entry in audit {
            transaction.audit(entry);
        }
        transaction.commit().await
    }

    /// Chooses as an organization's default what `choice` says, or takes a choice back. It is written only while `credential`, which
    /// it concerns, and the choice are as they were read.
    pub async fn choose_credential(
        &self,
        credential: &Credential,
        choice: &DefaultCredentials,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_choice(credential.organization_id, choice);
        let key = keys::credential(credential.organization_id, credential.id);
        let unchanged = Condition::revision(credential.revision);
        transaction.check(&self.tables.records, &key, unchanged, stale);
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Replaces a credential that was read at `credential.revision`. Runs do not find one that is revoked.
    pub async fn update_credential(
        &self,
        credential: &Credential,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_revision(credential_item(credential), Some(credential.revision));
        if let Some(workspace) = credential.workspace_id
            && credential.status() == CredentialStatus::Revoked
        {
            let key = keys::own_credential(workspace, credential.provider, credential.id);
            transaction.delete(&self.tables.records, &key, Condition::none(), stale);
        }
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
            .update_expression(format!("SET {LAST_USED_AT} = :now"))
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

/// Writes to a credential. Nothing happens when it is gone by now.
async fn sent_if_there(update: UpdateItemFluentBuilder) -> Result<()> {
    match update.sent().await {
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

impl Transaction<'_> {
    fn put_choice(&mut self, organization: OrganizationId, choice: &DefaultCredentials) {
        let key = keys::default_credentials(organization);
        let item = NewItem::new(key, "default_credentials", choice);
        self.put_revision(item, choice.revision);
    }
}

fn credential_item(credential: &Credential) -> Result<NewItem> {
    let key = keys::credential(credential.organization_id, credential.id);
    let workspace = credential.workspace_id;
    let place = workspace.map(|workspace| keys::credential_of_workspace(workspace, credential.id));
    let item = NewItem::new(key, "credential", credential)?.indexed_if(place);
    let mut item = match credential.last_used_at {
        Some(at) => item.number(LAST_USED_AT, at.timestamp_millis()),
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
        last_used_at: DateTime::from_timestamp_millis(number(item, LAST_USED_AT))
            .filter(|at| at.timestamp_millis() > 0),
        unsupported: unsupported.into_iter().flatten().cloned().collect(),
        ..entity(item)?
    })
}
