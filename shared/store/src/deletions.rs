//! Deletions of agents, workspaces and organizations: what a request does at once, and the job row that is left for the rest.
//!
//! A deletion begins with one transaction that takes the thing's own row away and creates a [`Deletion`], which is in the due
//! index until the job has removed everything. The row's absence is the mark: whatever reads it is refused from then on.
//!
//! What ends with that transaction:
//!
//! * sessions that name the workspace, and its administration: every such request reads the workspace's row, which is gone;
//! * schedules and queued runs: the tick, before it fires a schedule, and a worker that takes a run read the workspace's row; the
//!   worker also reads the [`Deletion`] of the run's agent.
//!
//! What ends after it, in the request:
//!
//! * sessions that name no workspace: the members' default moves to the oldest workspace that is left;
//! * members, sessions and addresses of an organization: the rows of member, user and address are deleted;
//! * keys and tokens: the row under the hash of their secret is deleted. None can be made or get another secret, since both check
//!   the workspace's row in their transaction;
//! * runs under way, paused or waiting, as far as the request's time goes: they are stopped, which fences their workers and ends
//!   their event streams.
//!
//! What a request has no time for is done by the job within a minute.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use domain::agent::Agent;
use domain::audit::AuditEntry;
use domain::deletion::{Deletion, DeletionTarget};
use domain::identity::{Organization, Workspace};
use domain::ids::{OrganizationId, RunId, WorkspaceId};
use domain::{Error, Result};
use futures::future::{join_all, try_join_all};

use crate::aws_calls::{Call, aws_error};
use crate::item::{Item, NewItem, entity, readable, revision, text};
use crate::keys::{self, Index, Key, PARTITION, SORT};
use crate::transaction::{Condition, stale};
use crate::{Store, Transaction};

impl Store {
    /// Deletes an agent. Its versions stay, its runs are to be stopped and stay readable by their ids.
    pub async fn delete_agent(&self, agent: &Agent, audit: &AuditEntry) -> Result<Deletion> {
        let target = DeletionTarget::Agent {
            organization_id: agent.organization_id,
            workspace_id: agent.workspace_id,
            agent_id: agent.id,
        };
        let deletion = Deletion::new(target, audit.created_at);
        let mut transaction = self.transaction();
        transaction.delete(
            &self.tables.records,
            &keys::agent(agent.workspace_id, agent.id),
            Condition::exists(),
            || Error::NotFound("agent"),
        );
        transaction.discount_agent(agent.organization_id, agent.workspace_id);
        transaction.put_deletion(&deletion);
        transaction.audit(audit);
        transaction.commit().await?;
        Ok(as_stored(deletion))
    }

    /// The two oldest workspaces of an organization, in order: whether one may go, and which is the default then.
    pub async fn oldest_workspaces(&self, organization: OrganizationId) -> Result<Vec<Workspace>> {
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .key_condition_expression(format!("{PARTITION} = :partition"))
            .expression_attribute_values(
                ":partition",
                AttributeValue::S(keys::workspaces(organization)),
            )
            .consistent_read(true)
            .limit(2);
        let found = query.sent().await.map_err(aws_error)?;
        found.items.unwrap_or_default().iter().map(entity).collect()
    }

    /// Deletes a workspace. From here on nothing takes this back. `organization` names its new default workspace.
    ///
    /// # Errors
    /// `Conflict` when the organization or its membership was changed since `organization` was read, `NotFound` when the
    /// workspace is gone already.
    pub async fn delete_workspace(
        &self,
        organization: &Organization,
        workspace: WorkspaceId,
        audit: &AuditEntry,
    ) -> Result<Deletion> {
        let target = DeletionTarget::Workspace {
            organization_id: organization.id,
            workspace_id: workspace,
        };
        let deletion = Deletion::new(target, audit.created_at);
        let mut transaction = self.transaction();
        transaction.delete(
            &self.tables.records,
            &keys::workspace(organization.id, workspace),
            Condition::exists(),
            || Error::NotFound("workspace"),
        );
        transaction.count(&keys::workspaces(organization.id), -1);
        transaction.put_organization(organization, Some(organization.revision));
        transaction.put_deletion(&deletion);
        transaction.audit(audit);
        transaction.commit().await?;
        Ok(as_stored(deletion))
    }

    /// Deletes an organization. From here on no member can be added to it or changed, and nothing takes this back.
    ///
    /// # Errors
    /// `Conflict` when the organization or its membership was changed since it was read.
    pub async fn delete_organization(
        &self,
        organization: &Organization,
        audit: Option<&AuditEntry>,
        now: DateTime<Utc>,
    ) -> Result<Deletion> {
        let target = DeletionTarget::Organization {
            organization_id: organization.id,
        };
        let deletion = Deletion::new(target, now);
        let mut transaction = self.transaction();
        transaction.delete(
            &self.tables.records,
            &keys::organization(organization.id),
            Condition::revision(organization.revision),
            stale,
        );
        transaction.put_deletion(&deletion);
        if let Some(audit) = audit {
            transaction.audit(audit);
        }
        transaction.commit().await?;
        Ok(as_stored(deletion))
    }

    pub async fn deletion(&self, target: DeletionTarget) -> Result<Option<Deletion>> {
        let item = self
            .get_item(&self.tables.records, &keys::deletion(target))
            .await?;
        item.as_ref().map(read_deletion).transpose()
    }

    /// Deletions that are due at `now`, the oldest of each of the index's partitions: at most `limit` of each.
    pub async fn due_deletions(&self, now: DateTime<Utc>, limit: i32) -> Result<Vec<Deletion>> {
        let shards = (0..keys::DELETION_SHARDS).map(|shard| {
            let partition = keys::deletion_shard(shard);
            self.indexed_until(partition, now, limit)
        });
        let rows = of_readable(shards).await?;
        let keys = rows.iter().filter_map(key_of);
        let found = keys.map(|key| async move {
            let item = self.get_item(&self.tables.records, &key).await?;
            // One that cannot be read delays no other.
            Ok::<_, Error>(item.and_then(|item| readable(&item, read_deletion)))
        });
        let found = try_join_all(found).await?.into_iter().flatten();
        // The index may lag behind.
        Ok(found.filter(|deletion| deletion.due_at <= now).collect())
    }

    /// The runs that had ended by `before`, as far as one read of each of the index's partitions goes: at most `limit` of each.
    pub async fn ended_runs(
        &self,
        before: DateTime<Utc>,
        limit: i32,
    ) -> Result<Vec<(WorkspaceId, RunId)>> {
        let shards = (0..keys::ENDED_SHARDS).map(|shard| {
            let partition = keys::ended_shard(shard);
            self.indexed_until(partition, before, limit)
        });
        let rows = of_readable(shards).await?;
        let ids = |item: &Item| keys::ended_run_from(text(item, Index::Due.sort())?);
        Ok(rows.iter().filter_map(ids).collect())
    }

    /// The keys of what is in a partition of the due index at or before `until`, oldest first.
    async fn indexed_until(
        &self,
        partition: String,
        until: DateTime<Utc>,
        limit: i32,
    ) -> Result<Vec<Item>> {
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name(Index::Due.name())
            .key_condition_expression(format!(
                "{} = :partition AND {} < :until",
                Index::Due.partition(),
                Index::Due.sort()
            ))
            .expression_attribute_values(":partition", AttributeValue::S(partition))
            .expression_attribute_values(":until", AttributeValue::S(keys::above_time(until)))
            .limit(limit);
        let output = query.sent().await.map_err(aws_error)?;
        Ok(output.items.unwrap_or_default())
    }

    /// Replaces a deletion that was read at `deletion.revision`; as it is stored then.
    ///
    /// # Errors
    /// `Conflict` when another writer was faster.
    pub async fn update_deletion(&self, deletion: Deletion) -> Result<Deletion> {
        let mut transaction = self.transaction();
        transaction.put_revision(deletion_item(&deletion), Some(deletion.revision));
        transaction.commit().await?;
        Ok(Deletion {
            revision: deletion.revision + 1,
            ..deletion
        })
    }

    /// Forgets a deletion that is complete.
    pub async fn complete_deletion(&self, deletion: &Deletion) -> Result<()> {
        let mut gone = vec![keys::deletion(deletion.target)];
        if let DeletionTarget::Agent {
            workspace_id,
            agent_id,
            ..
        } = deletion.target
        {
            gone.push(keys::agent_status(workspace_id, agent_id));
        }
        self.remove_keys(&self.tables.records, gone).await
    }
}

/// The rows of those partitions that can be read now: a throttled one delays no other.
///
/// # Errors
/// None of them can be read.
async fn of_readable(
    partitions: impl Iterator<Item = impl Future<Output = Result<Vec<Item>>>>,
) -> Result<Vec<Item>> {
    let (mut rows, mut failure, mut is_any_readable) = (Vec::new(), None, false);
    for (shard, found) in join_all(partitions).await.into_iter().enumerate() {
        match found {
            Ok(found) => {
                is_any_readable = true;
                rows.extend(found);
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(due.shard = shard, %error, source, "a part of what is to be removed cannot be read");
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if !is_any_readable => Err(error),
        _ => Ok(rows),
    }
}

impl Transaction<'_> {
    pub(crate) fn put_deletion(&mut self, deletion: &Deletion) {
        self.put_revision(deletion_item(deletion), None);
    }

    /// Deletes an item of the records table whether or not it is there.
    pub(crate) fn delete_anyway(&mut self, key: &Key) {
        let records = self.store().tables.records.clone();
        self.delete(&records, key, Condition::none(), || {
            Error::internal("an unconditional write failed")
        });
    }

    /// Lets the rest happen only while the workspace has not been deleted.
    pub(crate) fn check_workspace(&mut self, organization: OrganizationId, workspace: WorkspaceId) {
        let records = self.store().tables.records.clone();
        let key = keys::workspace(organization, workspace);
        self.check(&records, &key, Condition::exists(), || {
            Error::NotFound("workspace")
        });
    }
}

fn deletion_item(deletion: &Deletion) -> Result<NewItem> {
    let key = keys::deletion(deletion.target);
    let due = keys::deletion_due(deletion.due_at, deletion.target);
    Ok(NewItem::new(key, "deletion", deletion)?.indexed(due))
}

/// A deletion whose row has been written for the first time.
fn as_stored(deletion: Deletion) -> Deletion {
    Deletion {
        revision: 1,
        ..deletion
    }
}

fn read_deletion(item: &Item) -> Result<Deletion> {
    Ok(Deletion {
        revision: revision(item),
        ..entity(item)?
    })
}

/// The primary key of a row of a table or an index.
pub(crate) fn key_of(item: &Item) -> Option<Key> {
    Some(Key {
        partition: text(item, PARTITION)?.to_owned(),
        sort: text(item, SORT)?.to_owned(),
    })
}
