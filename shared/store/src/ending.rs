//! The effects of a deletion at once: members, keys, and runs under way. Each can be called again, and then ends what is left.

use chrono::{DateTime, Utc};
use domain::deletion::{Deletion, DeletionTarget};
use domain::identity::{Member, MemberStatus};
use domain::ids::{AgentId, OrganizationId, RunId, WorkspaceId};
use domain::run::RunStatus;
use domain::token::{Token, TokenState};
use domain::{Error, Result};
use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::Store;
use crate::item::{entity, readable, sort_key, text};
use crate::keys::{self, Index, Key};

/// The number of members that go in one transaction: each is at most four items of its hundred.
const MEMBERS_AT_ONCE: usize = 25;
/// The number of workspaces that go in one transaction: each is two items.
const WORKSPACES_AT_ONCE: usize = 40;
/// The number of transactions that are under way at a time.
const CONCURRENCY: usize = 8;
/// The number of times that a member is written that others change at the same time.
const ATTEMPTS: u32 = 5;

impl Store {
    /// Moves the members of an organization on from a workspace that was deleted. No member is added with it, since the deletion
    /// has changed the organization's revision, which every change of the membership names.
    pub async fn move_members_on(
        &self,
        organization: OrganizationId,
        deleted: WorkspaceId,
    ) -> Result<()> {
        let Some(found) = self.organization(organization).await? else {
            return Ok(());
        };
        let members = self.all_members(organization).await?;
        let moves: Vec<_> = members
            .iter()
            .map(|member| self.move_on(member, deleted, found.default_workspace_id))
            .collect();
        stream::iter(moves)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn move_on(
        &self,
        member: &Member,
        deleted: WorkspaceId,
        default: WorkspaceId,
    ) -> Result<()> {
        let mut seen = Some(member.clone());
        for _ in 0..ATTEMPTS {
            // It was removed.
            let Some(member) = seen else { return Ok(()) };
            let Some(moved) = member.without_workspace(deleted, default) else {
                return Ok(());
            };
            let mut transaction = self.transaction();
            transaction.put_member(&moved, Some(member.revision));
            match transaction.commit().await {
                // A new password, say.
                Err(Error::Conflict(_)) => {
                    seen = self.member(member.organization_id, member.user_id).await?;
                }
                outcome => return outcome,
            }
        }
        Err(Error::unavailable("a member kept being changed"))
    }

    /// Ends the members of a deleted organization: their rows, users and addresses, which are free from then on.
    pub async fn end_members(&self, organization: OrganizationId) -> Result<()> {
        let members = self.all_members(organization).await?;
        let ends: Vec<_> = members
            .chunks(MEMBERS_AT_ONCE)
            .map(|members| async move {
                let mut transaction = self.transaction();
                for member in members {
                    let key = keys::member(organization, member.user_id);
                    transaction.delete_anyway(&key);
                    transaction.end_invitation(member);
                    // The address of an invitation may be another organization's user.
                    if member.status == MemberStatus::Active {
                        transaction.delete_user(member.user_id, &member.email);
                    }
                }
                transaction.commit().await
            })
            .collect();
        stream::iter(ends)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    /// Deletes the workspaces of a deleted organization, as [`Self::delete_workspace`] does; their deletions.
    pub async fn end_workspaces(
        &self,
        organization: OrganizationId,
        now: DateTime<Utc>,
    ) -> Result<Vec<Deletion>> {
        let partition = keys::workspaces(organization);
        let rows = self
            .collection(&self.tables.records, &partition, "", "")
            .await?;
        // The keys say enough, also of rows that cannot be read.
        let ids = rows.iter().filter_map(|row| sort_key(row).parse().ok());
        let workspaces: Vec<WorkspaceId> = ids.collect();
        let deletions: Vec<Deletion> = workspaces
            .iter()
            .map(|workspace| {
                let target = DeletionTarget::Workspace {
                    organization_id: organization,
                    workspace_id: *workspace,
                };
                Deletion::new(target, now)
            })
            .collect();
        let ends: Vec<_> = workspaces
            .chunks(WORKSPACES_AT_ONCE)
            .zip(deletions.chunks(WORKSPACES_AT_ONCE))
            .map(|(workspaces, deletions)| async move {
                let mut transaction = self.transaction();
                for (workspace, deletion) in workspaces.iter().zip(deletions) {
                    transaction.delete_anyway(&keys::workspace(organization, *workspace));
                    transaction.put_deletion(deletion);
                }
                transaction.commit().await
            })
            .collect();
        stream::iter(ends)
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        Ok(deletions)
    }

    /// Ends the keys and tokens of a deleted organization, or of a deleted workspace of it: their secrets are unknown from then
    /// on. `false` when the time was over before.
    ///
    /// It reads the organization's tokens consistently from their table, so one that was made a moment ago is not missed.
    pub async fn end_tokens(
        &self,
        organization: OrganizationId,
        workspace: Option<WorkspaceId>,
        until: Instant,
    ) -> Result<bool> {
        let partition = keys::tokens_of_organization(organization);
        let mut start = None;
        loop {
            let page = self.partition_page(&self.tables.records, &partition, &[], start);
            let (items, next) = page.await?;
            let tokens = items.iter().filter_map(|item| readable(item, entity));
            let tokens: Vec<Token> = tokens.collect();
            let mut ways = Vec::new();
            for token in &tokens {
                let is_concerned =
                    workspace.is_none_or(|workspace| token.workspace_id == workspace);
                if is_concerned && token.state != TokenState::Deleted {
                    ways.extend(ways_to(token));
                }
            }
            self.remove_keys(&self.tables.records, ways).await?;
            start = next;
            if start.is_none() {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
    }

    /// Runs that have not ended, of a workspace or one agent of it: some of each status, those in progress first. The index that
    /// tells may lag.
    pub async fn runs_under_way(
        &self,
        workspace: WorkspaceId,
        agent: Option<AgentId>,
    ) -> Result<Vec<RunId>> {
        let open = [
            RunStatus::Running,
            RunStatus::Queued,
            RunStatus::Paused,
            RunStatus::WaitingApproval,
        ];
        let prefix = agent.map(keys::runs_of_agent_in_status).unwrap_or_default();
        let partitions = open
            .into_iter()
            .flat_map(|status| keys::runs_in_status(workspace, status));
        let lists = partitions.map(|partition| {
            let prefix = prefix.clone();
            async move {
                self.index_page(Index::Status, &partition, &prefix, None)
                    .await
            }
        });
        let pages = try_join_all(lists).await?;
        let rows = pages.iter().flat_map(|(rows, _)| rows);
        let ids = rows.filter_map(|row| keys::run_in_status_from(text(row, Index::Status.sort())?));
        Ok(ids.collect())
    }
}

/// The rows that lead to a token: under the hashes of its secrets, and among those of its maker.
pub(crate) fn ways_to(token: &Token) -> impl Iterator<Item = Key> {
    let lookups = token.hashes().map(keys::token_by_hash);
    lookups.chain([keys::token_by_maker(token.user_id, token.id)])
}
