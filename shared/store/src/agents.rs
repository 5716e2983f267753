//! Agents and their versions.

use domain::agent::{Agent, AgentVersion};
use domain::audit::AuditEntry;
use domain::ids::{AgentId, AgentVersionId, WorkspaceId};
use domain::page::{Page, PageRequest};
use domain::{Error, Result};

use crate::item::{Item, NewItem, entity, revision};
use crate::keys::{self, Index};
use crate::list::List;
use crate::list::Total;
use crate::{Store, Transaction};

impl Store {
    pub async fn agent(&self, workspace: WorkspaceId, id: AgentId) -> Result<Option<Agent>> {
        let item = self
            .get_item(&self.tables.records, &keys::agent(workspace, id))
            .await?;
        item.as_ref().map(read_agent).transpose()
    }

    /// A workspace's agents, newest first.
    pub async fn agents(&self, workspace: WorkspaceId, page: &PageRequest) -> Result<Page<Agent>> {
        let list = List {
            total: Total::Kept,
            ..List::new(&self.tables.records, keys::agents(workspace))
        };
        self.page(&list, page, read_agent).await
    }

    /// The number of agents that a workspace has. Like all totals it is kept, not counted.
    pub async fn agents_in(&self, workspace: WorkspaceId) -> Result<u64> {
        self.kept_total(&keys::agents(workspace)).await
    }

    /// # Errors
    /// `Forbidden` when the organization has as many as its plan allows.
    pub async fn create_agent(
        &self,
        agent: &Agent,
        version: &AgentVersion,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_revision(agent_item(agent), None);
        transaction.create_version(version);
        transaction.count_agent(agent.organization_id, agent.workspace_id);
        transaction.audit(audit);
        match transaction.commit().await {
            Err(Error::Forbidden(_)) => {
                let standing = self.plan(agent.organization_id, audit.created_at).await?;
                Err(standing.no_more_agents())
            }
            outcome => outcome,
        }
    }

    /// Replaces an agent that was read at `agent.revision`, with a new version when its definition changed.
    pub async fn update_agent(
        &self,
        agent: &Agent,
        version: Option<&AgentVersion>,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut transaction = self.transaction();
        transaction.put_agent(agent);
        if let Some(version) = version {
            transaction.create_version(version);
        }
        transaction.audit(audit);
        transaction.commit().await
    }

    pub async fn agent_version(
        &self,
        workspace: WorkspaceId,
        id: AgentVersionId,
    ) -> Result<Option<AgentVersion>> {
        self.get_entity(&self.tables.records, &keys::agent_version(workspace, id))
            .await
    }

    /// An agent's versions, newest first.
    pub async fn agent_versions(
        &self,
        workspace: WorkspaceId,
        agent: AgentId,
        page: &PageRequest,
    ) -> Result<Page<AgentVersion>> {
        let list = List::of_index(
            &self.tables.records,
            Index::Children,
            keys::versions_of(workspace, agent),
        );
        self.page(&list, page, entity).await
    }
}

impl Transaction<'_> {
    /// Replaces an agent that was read at `agent.revision`.
    pub fn put_agent(&mut self, agent: &Agent) {
        self.put_revision(agent_item(agent), Some(agent.revision));
    }

    fn create_version(&mut self, version: &AgentVersion) {
        let records = self.store().tables.records.clone();
        let item = NewItem::new(
            keys::agent_version(version.workspace_id, version.id),
            "agent_version",
            version,
        )
        .map(|item| {
            item.indexed(keys::version_of_agent(
                version.workspace_id,
                version.agent_id,
                version.id,
            ))
            .packed()
        });
        self.create(&records, item, || {
            Error::Conflict("the version exists already".to_owned())
        });
    }
}

fn agent_item(agent: &Agent) -> Result<NewItem> {
    let due = agent
        .next_run_at
        .map(|at| keys::due(at, "agent", agent.workspace_id, agent.id));
    let item = NewItem::new(keys::agent(agent.workspace_id, agent.id), "agent", agent)?;
    Ok(item.indexed_if(due).packed())
}

pub(crate) fn read_agent(item: &Item) -> Result<Agent> {
    Ok(Agent {
        revision: revision(item),
        ..entity(item)?
    })
}
