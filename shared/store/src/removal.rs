//! Removing rows and objects: of runs past their retention, and of everything that a deleted workspace or organization had.
//!
//! There is no cursor to store: what is still there is what is left to do, every deletion of an item can be repeated, and an item
//! that leads to others goes after them. So a job that is killed anywhere goes on by starting again, and one that has run a
//! pass to its end runs another, until a pass finds nothing: by then the indexes have caught up as well.
//!
//! Of a **workspace**:
//!
//! | items | found by |
//! |---|---|
//! | runs: journal, pieces of answers, input, output, messages, and the head last | the index of runs by status |
//! | objects in S3, those included that no item names | their prefix, `v/<workspace>/` |
//! | usage of agents | the versions of the workspace's agents, deleted agents included |
//! | versions, agents, deletions of agents | their partitions |
//! | log of each token; what leads to it from its secret and its maker; the token or its tombstone | the organization's tokens |
//! | places of live tokens | their partition |
//! | model credentials of the workspace, and what leads runs to them | the organization's credentials |
//! | audit log, request log and its counts, usage | the partitions of all months and days that may have rows, and of all shards |
//! | the kept totals of its lists, and its agents in the organization's plan | their keys |
//!
//! Of an **organization**, once its workspaces are deletions of their own: members, users, addresses and invitations, tokens as
//! above, credentials and the choice among them, plan, audit log, usage and kept totals, each by its key or partition.
//!
//! What is left expires by itself, and leads to nothing that could be read: in the counters table counters of rate limits (three
//! minutes), places for runs and counts of event streams (an hour), responses kept for an `Idempotency-Key` (a day), sessions and
//! the networks that users have signed in from; beside them the totals of lists that only grow (a day).

mod families;
mod pass;

use chrono::{DateTime, Utc};
use domain::Result;
use domain::ids::{OrganizationId, RunId, WorkspaceId};
use tokio::time::Instant;

use self::pass::Pass;
use crate::Store;
use crate::keys;
use crate::large::{objects_of_run, objects_of_workspace};

impl Store {
    /// Removes everything that a deleted workspace had; `true` once nothing is left, `false` when the time was over before.
    pub async fn remove_workspace(
        &self,
        organization: OrganizationId,
        workspace: WorkspaceId,
        now: DateTime<Utc>,
        until: Instant,
    ) -> Result<bool> {
        loop {
            let pass = Pass::new(self, until);
            if !pass.workspace(organization, workspace, now).await? {
                return Ok(false);
            }
            if pass.found_nothing() {
                return Ok(true);
            }
        }
    }

    /// Removes what a deleted organization had beside its workspaces; the result is that of [`Self::remove_workspace`].
    pub async fn remove_organization(
        &self,
        organization: OrganizationId,
        now: DateTime<Utc>,
        until: Instant,
    ) -> Result<bool> {
        loop {
            let pass = Pass::new(self, until);
            if !pass.organization(organization, now).await? {
                return Ok(false);
            }
            if pass.found_nothing() {
                return Ok(true);
            }
        }
    }

    /// Removes a run with its journal, messages and large values; `false` when the time was over before.
    pub async fn remove_run(
        &self,
        workspace: WorkspaceId,
        run: RunId,
        until: Instant,
    ) -> Result<bool> {
        let pass = Pass::new(self, until);
        let objects = objects_of_run(workspace, run);
        pass.run(&keys::run(workspace, run), Some(&objects)).await
    }
}

impl Pass<'_> {
    async fn workspace(
        &self,
        organization: OrganizationId,
        workspace: WorkspaceId,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        Ok(self.runs(workspace).await?
            && self
                .objects(&objects_of_workspace(workspace), false)
                .await?
            && self.versions(workspace).await?
            && self
                .partition(self.records(), &keys::agents(workspace))
                .await?
            && self
                .partition(self.records(), &keys::agent_statuses(workspace))
                .await?
            && self.tokens(organization, Some(workspace)).await?
            && self
                .partition(self.records(), &keys::token_places(workspace))
                .await?
            && self.credentials(organization, workspace).await?
            && self.log_partitions(workspace, now).await?
            && self
                .partition(self.records(), &keys::deletions_in(workspace))
                .await?
            && self.token_totals(workspace).await?
            && self.store.forget_workspace(organization, workspace).await?)
    }

    async fn organization(&self, organization: OrganizationId, now: DateTime<Utc>) -> Result<bool> {
        let own = keys::organization(organization).partition;
        let lists = [keys::workspaces(organization), keys::members(organization)];
        let totals = lists.iter().map(|list| keys::total(list)).collect();
        self.store.remove_keys(self.records(), totals).await?;
        Ok(self.tokens(organization, None).await?
            && self
                .partition(self.records(), &keys::tokens_of_organization(organization))
                .await?
            && self
                .partition(self.records(), &keys::members(organization))
                .await?
            && self.partition(self.records(), &own).await?
            && self
                .partition(self.records(), &keys::credentials(organization))
                .await?
            && self.organization_logs(organization, now).await?)
    }
}
