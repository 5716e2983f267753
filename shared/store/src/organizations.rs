//! Organizations and their workspaces.

use domain::audit::AuditEntry;
use domain::identity::{Organization, Workspace};
use domain::ids::{OrganizationId, WorkspaceId};
use domain::page::{Page, PageRequest};
use domain::{Error, Result};

use crate::item::{Item, NewItem, entity, revision};
use crate::list::List;
use crate::list::Total;
use crate::{Store, Transaction, keys};

/// The number of workspaces that an organization may have: what ends and removes an organization goes through all of them.
const MAX_WORKSPACES: i64 = 100;

impl Store {
    pub async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>> {
        let item = self
            .get_item(&self.tables.records, &keys::organization(id))
            .await?;
        item.as_ref().map(read_organization).transpose()
    }

    /// Replaces an organization that was read at `organization.revision`.
    pub async fn update_organization(
        &self,
        organization: &Organization,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_organization(organization, Some(organization.revision));
        transaction.audit(audit);
        transaction.commit().await
    }

    pub async fn workspace(
        &self,
        organization: OrganizationId,
        id: WorkspaceId,
    ) -> Result<Option<Workspace>> {
        let item = self
            .get_item(&self.tables.records, &keys::workspace(organization, id))
            .await?;
        item.as_ref().map(read_workspace).transpose()
    }

    pub async fn workspaces(
        &self,
        organization: OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Workspace>> {
        let list = List {
            total: Total::Kept,
            ..List::new(&self.tables.records, keys::workspaces(organization))
        };
        self.page(&list, page, read_workspace).await
    }

    /// These workspaces, those that do not exist left out; newest first.
    pub async fn workspaces_of(
        &self,
        organization: OrganizationId,
        ids: &[WorkspaceId],
    ) -> Result<Vec<Workspace>> {
        let found = ids.iter().map(|id| self.workspace(organization, *id));
        let mut found: Vec<Workspace> = futures::future::try_join_all(found)
            .await?
            .into_iter()
            .flatten()
            .collect();
        found.sort_by_key(|workspace| std::cmp::Reverse(workspace.id));
        Ok(found)
    }

    pub async fn create_workspace(&self, workspace: &Workspace, audit: &AuditEntry) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_workspace(workspace, None);
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Replaces a workspace that was read at `workspace.revision`.
    pub async fn update_workspace(&self, workspace: &Workspace, audit: &AuditEntry) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_workspace(workspace, Some(workspace.revision));
        transaction.audit(audit);
        transaction.commit().await
    }
}

impl Transaction<'_> {
    pub(crate) fn put_organization(&mut self, organization: &Organization, seen: Option<u64>) {
        let item = NewItem::new(
            keys::organization(organization.id),
            "organization",
            organization,
        );
        self.put_revision(item, seen);
    }

    pub(crate) fn put_workspace(&mut self, workspace: &Workspace, seen: Option<u64>) {
        let item = NewItem::new(
            keys::workspace(workspace.organization_id, workspace.id),
            "workspace",
            workspace,
        );
        self.put_revision(item, seen);
        if seen.is_none() {
            let list = keys::workspaces(workspace.organization_id);
            self.count_one_of(&list, MAX_WORKSPACES, || {
                Error::LimitReached(format!(
                    "an organization has at most {MAX_WORKSPACES} workspaces"
                ))
            });
        }
    }
}

fn read_organization(item: &Item) -> Result<Organization> {
    Ok(Organization {
        revision: revision(item),
        ..entity(item)?
    })
}

fn read_workspace(item: &Item) -> Result<Workspace> {
    Ok(Workspace {
        revision: revision(item),
        ..entity(item)?
    })
}
