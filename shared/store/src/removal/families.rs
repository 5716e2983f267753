//! The families of items that a tenant has, each with what leads to it.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, Months, TimeDelta, Utc};
use domain::Result;
use domain::credential::Credential;
use domain::ids::{AgentId, OrganizationId, WorkspaceId};
use domain::model::Provider;
use domain::run::RunStatus;
use domain::token::{Token, TokenKind};

use super::pass::{Pass, all};
use crate::attributes::REFERENCE;
use crate::audit::start_of_month;
use crate::deletions::key_of;
use crate::ending::ways_to;
use crate::item::{entity, readable, sort_key, text};
use crate::keys::{self, Index, PARTITION, RUN_HEAD_ITSELF, SORT};

/// The time that the clock of another machine may be ahead.
const AHEAD: TimeDelta = TimeDelta::hours(1);

impl Pass<'_> {
    pub(super) async fn runs(&self, workspace: WorkspaceId) -> Result<bool> {
        let statuses = RunStatus::ALL.into_iter();
        for partition in statuses.flat_map(|status| keys::runs_in_status(workspace, status)) {
            let mut start = None;
            loop {
                let page = self.store.index_page(Index::Status, &partition, "", start);
                let (rows, next) = page.await?;
                let runs: BTreeSet<&str> =
                    rows.iter().filter_map(|row| text(row, PARTITION)).collect();
                // Their objects go with the workspace's.
                let removals: Vec<_> = runs.into_iter().map(|run| self.run(run, None)).collect();
                if !all(removals).await? {
                    return Ok(false);
                }
                start = next;
                if start.is_none() {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Removes a run, whose partition this is: the objects whose keys begin with `objects` before the rows that lead to them,
    /// and the head, which leads to all, at the end.
    pub(super) async fn run(&self, partition: &str, objects: Option<&str>) -> Result<bool> {
        let attributes = [PARTITION, SORT, REFERENCE];
        let (mut start, mut head) = (None, None);
        loop {
            if self.is_over() {
                return Ok(false);
            }
            let page = self
                .store
                .partition_page(self.records(), partition, &attributes, start);
            let (items, next) = page.await?;
            let has_large = items.iter().any(|item| item.contains_key(REFERENCE));
            if let Some(objects) = objects.filter(|_| has_large)
                && !self.objects(objects, true).await?
            {
                return Ok(false);
            }
            let (heads, rest): (Vec<_>, Vec<_>) = items
                .iter()
                .partition(|item| sort_key(item) == RUN_HEAD_ITSELF);
            head = head.or_else(|| heads.first().copied().and_then(key_of));
            self.keys(
                self.records(),
                rest.into_iter().filter_map(key_of).collect(),
            )
            .await?;
            start = next;
            if start.is_none() {
                break;
            }
        }
        self.keys(self.records(), head.into_iter().collect())
            .await?;
        Ok(true)
    }

    /// Removes the versions of all agents that a workspace has had, and before them what is found by them.
    pub(super) async fn versions(&self, workspace: WorkspaceId) -> Result<bool> {
        let partition = keys::agent_versions(workspace);
        let of = Index::Children.partition();
        let attributes = [PARTITION, SORT, of];
        loop {
            let page = self
                .store
                .partition_page(self.records(), &partition, &attributes, None);
            let (items, next) = page.await?;
            let agents: BTreeSet<AgentId> = items
                .iter()
                .filter_map(|item| keys::agent_of_versions(text(item, of)?))
                .collect();
            let usage = agents
                .into_iter()
                .map(|agent| keys::agent_usage_days(workspace, agent));
            if !self.partitions(self.logs(), usage.collect()).await? {
                return Ok(false);
            }
            self.keys(self.records(), items.iter().filter_map(key_of).collect())
                .await?;
            if next.is_none() {
                return Ok(true);
            }
            if self.is_over() {
                return Ok(false);
            }
        }
    }

    /// Removes the tokens of an organization, or of one workspace of it, tombstones and logs included. Rows that cannot be read
    /// stay, and go with the organization's partition.
    pub(super) async fn tokens(
        &self,
        organization: OrganizationId,
        workspace: Option<WorkspaceId>,
    ) -> Result<bool> {
        let partition = keys::tokens_of_organization(organization);
        let mut start = None;
        loop {
            let page = self
                .store
                .partition_page(self.records(), &partition, &[], start);
            let (items, next) = page.await?;
            let tokens = items.iter().filter_map(|item| readable(item, entity));
            let tokens: Vec<Token> = tokens
                .filter(|token: &Token| {
                    workspace.is_none_or(|workspace| token.workspace_id == workspace)
                })
                .collect();
            let logs = tokens
                .iter()
                .map(|token| keys::token_audit(organization, token.id));
            if !self.partitions(self.logs(), logs.collect()).await? {
                return Ok(false);
            }
            let ways = tokens.iter().flat_map(ways_to).collect();
            self.store.remove_keys(self.records(), ways).await?;
            let owned = tokens
                .iter()
                .map(|token| keys::token(organization, token.id));
            self.keys(self.records(), owned.collect()).await?;
            start = next;
            if start.is_none() {
                return Ok(true);
            }
            if self.is_over() {
                return Ok(false);
            }
        }
    }

    /// Removes the audit log, the request log and the usage of a workspace.
    pub(super) async fn log_partitions(
        &self,
        workspace: WorkspaceId,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let last = now + AHEAD;
        let months = months_of_audit(workspace.created_at(), now);
        let audit = months.flat_map(|month| keys::audit_month(workspace, month));
        let first = workspace
            .created_at()
            .max(now - TimeDelta::days(92))
            .date_naive();
        let days = (0..).map_while(|day| first.checked_add_days(Days::new(day)));
        let days = days.take_while(|day| *day <= last.date_naive());
        let requests = days.map(|day| keys::activity_day(workspace, day));
        let counts =
            (0..keys::ACTIVITY_SHARDS).map(|shard| keys::activity_count_shard(workspace, shard));
        let usage =
            (0..keys::USAGE_SHARDS).map(|shard| keys::workspace_usage_shard(workspace, shard));
        let partitions = audit.chain(requests).chain(counts).chain(usage).collect();
        self.partitions(self.logs(), partitions).await
    }

    /// Removes the audit log and the usage of an organization.
    pub(super) async fn organization_logs(
        &self,
        organization: OrganizationId,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let months = months_of_audit(organization.created_at(), now);
        let audit = months.map(|month| keys::organization_audit_month(organization, month));
        let usage = (0..keys::USAGE_SHARDS)
            .map(|shard| keys::organization_usage_shard(organization, shard));
        self.partitions(self.logs(), audit.chain(usage).collect())
            .await
    }

    /// Removes the model credentials of a workspace, and what leads its runs to them.
    pub(super) async fn credentials(
        &self,
        organization: OrganizationId,
        workspace: WorkspaceId,
    ) -> Result<bool> {
        let ways = Provider::ALL.map(|provider| keys::own_credentials(workspace, provider));
        if !self.partitions(self.records(), ways.to_vec()).await? {
            return Ok(false);
        }
        let partition = keys::credentials(organization);
        let mut start = None;
        loop {
            let page = self
                .store
                .partition_page(self.records(), &partition, &[], start);
            let (items, next) = page.await?;
            let credentials = items.iter().filter_map(|item| readable(item, entity));
            let credentials: Vec<Credential> = credentials.collect();
            let own = credentials
                .iter()
                .filter(|credential| credential.workspace_id == Some(workspace));
            let keys = own.map(|credential| keys::credential(organization, credential.id));
            self.keys(self.records(), keys.collect()).await?;
            start = next;
            if start.is_none() {
                return Ok(true);
            }
            if self.is_over() {
                return Ok(false);
            }
        }
    }

    /// Removes the kept totals of a workspace's lists of tokens and keys.
    pub(super) async fn token_totals(&self, workspace: WorkspaceId) -> Result<bool> {
        let lists: BTreeSet<_> = TokenKind::ALL
            .into_iter()
            .map(|kind| keys::tokens_of(workspace, kind))
            .collect();
        let totals = lists.iter().map(|list| keys::total(list)).collect();
        self.store.remove_keys(self.records(), totals).await?;
        Ok(true)
    }
}

/// The months that an audit log may have rows of.
fn months_of_audit(
    begins: DateTime<Utc>,
    now: DateTime<Utc>,
) -> impl Iterator<Item = DateTime<Utc>> {
    let first = start_of_month(begins.max(now - TimeDelta::days(400)));
    let months = (0..).map_while(move |month| first.checked_add_months(Months::new(month)));
    months.take_while(move |month| *month <= now + AHEAD)
}
