//! Agents and their versions.

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use domain::agent::{Agent, AgentVersion};
use domain::audit::AuditEntry;
use domain::ids::{AgentId, AgentVersionId, OrganizationId, WorkspaceId};
use domain::page::{Page, PageRequest, REACH};
use domain::run::RunStatus;
use domain::{Error, Result};
use futures::future::try_join;

use crate::item::{Item, List, NewItem, aws_error, entity, low, revision, sent, text};
use crate::keys::{self, Index};
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
        let list = List::new(&self.tables.records, keys::agents(workspace));
        self.page(&list, page, read_agent, |agent| agent.id.to_string())
            .await
    }

    /// Likewise, with their number if that is wanted. It is kept, not counted, so that it costs the same however many there are.
    pub async fn agents_and_total(
        &self,
        organization: OrganizationId,
        workspace: WorkspaceId,
        page: &PageRequest,
    ) -> Result<Page<Agent>> {
        let uncounted = PageRequest {
            wants_total: false,
            ..page.clone()
        };
        let total = async {
            if !page.wants_total {
                return Ok(None);
            }
            let total = self.agents_in(organization, workspace).await?;
            Ok(Some(total.min(REACH)))
        };
        let (agents, total) = try_join(self.agents(workspace, &uncounted), total).await?;
        Ok(Page { total, ..agents })
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
        self.page(&list, page, entity, |version: &AgentVersion| {
            version.id.to_string()
        })
        .await
    }

    /// The agents of a workspace that have a run in `status` now; with `agent`, whether that one has. At most 1,000 runs
    /// are looked at.
    pub async fn agents_with_runs(
        &self,
        workspace: WorkspaceId,
        status: RunStatus,
        agent: Option<AgentId>,
    ) -> Result<Vec<AgentId>> {
        let prefix = agent.map(|agent| agent.to_string()).unwrap_or_default();
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name(Index::Status.name())
            .key_condition_expression(format!(
                "{} = :partition AND {} BETWEEN :low AND :high",
                Index::Status.partition(),
                Index::Status.sort()
            ))
            .expression_attribute_values(
                ":partition",
                AttributeValue::S(keys::runs_in_status(workspace, status)),
            )
            .expression_attribute_values(":low", AttributeValue::S(low(&prefix)))
            .expression_attribute_values(":high", AttributeValue::S(format!("{prefix}~")))
            .select(Select::SpecificAttributes)
            .projection_expression(Index::Status.sort())
            .limit(if agent.is_some() { 1 } else { 1000 });
        let output = sent(query.send()).await.map_err(aws_error)?;
        let rows = output.items.unwrap_or_default();
        let mut agents: Vec<AgentId> = rows
            .iter()
            .filter_map(|item| {
                text(item, Index::Status.sort())?
                    .split('#')
                    .next()?
                    .parse()
                    .ok()
            })
            .collect();
        agents.dedup();
        Ok(agents)
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
    Ok(NewItem::new(keys::agent(agent.workspace_id, agent.id), "agent", agent)?.indexed_if(due))
}

fn read_agent(item: &Item) -> Result<Agent> {
    Ok(Agent {
        revision: revision(item),
        ..entity(item)?
    })
}
