//! Ending what must not go on once an agent, a workspace or an organization is deleted: members, keys, and runs under way.

use std::collections::HashSet;

use domain::audit::Caller;
use domain::deletion::{Deletion, DeletionTarget};
use domain::ids::{AgentId, OrganizationId, RunId, WorkspaceId};
use domain::{Error, Result};
use futures::StreamExt;
use runtime::Clock;
use store::Store;
use tokio::time::Instant;

use crate::stop::stop;

/// The number of runs that are stopped at a time.
const CONCURRENCY: usize = 16;

/// Ends things of deletions. Cheap to clone.
#[derive(Clone)]
pub struct Endings {
    store: Store,
    clock: Clock,
}

impl Endings {
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Ends what it can before `until` in the request that deleted something, and leaves the rest to the job, errors included:
    /// the deletion is accepted already.
    pub async fn begin(&self, deletion: Deletion, caller: &Caller, until: Instant) {
        let target = deletion.target;
        let begun = async {
            if self.end(target, Some(caller), until).await? {
                let due_at = deletion.removal_from();
                let ended = Deletion { due_at, ..deletion };
                self.store.update_deletion(ended).await?;
            }
            Ok::<_, Error>(())
        };
        match begun.await {
            // The job was faster.
            Ok(()) | Err(Error::Conflict(_)) => {}
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(?target, %error, source, "a deletion's endings are left to its job");
            }
        }
    }

    /// Ends members, keys and runs of what is deleted; `false` when the time was over before, or a run could not be stopped.
    /// Ending again what has ended does no harm. `caller` is told to the audit log; `None` is the platform.
    pub async fn end(
        &self,
        target: DeletionTarget,
        caller: Option<&Caller>,
        until: Instant,
    ) -> Result<bool> {
        match target {
            DeletionTarget::Agent {
                organization_id,
                workspace_id,
                agent_id,
            } => {
                let caller = &within(organization_id, workspace_id, caller);
                let agent = Some(agent_id);
                self.end_runs(agent, target, caller, until).await
            }
            DeletionTarget::Workspace {
                organization_id,
                workspace_id,
            } => {
                self.store
                    .move_members_on(organization_id, workspace_id)
                    .await?;
                let tokens = self
                    .store
                    .end_tokens(organization_id, Some(workspace_id), until);
                let tokens_ended = tokens.await?;
                let caller = &within(organization_id, workspace_id, caller);
                let runs = self.end_runs(None, target, caller, until);
                Ok(runs.await? && tokens_ended)
            }
            DeletionTarget::Organization { organization_id } => {
                self.store.end_members(organization_id).await?;
                let now = self.clock.now();
                // Each is a deletion of its own from here on.
                let workspaces = self.store.end_workspaces(organization_id, now).await?;
                let mut ended = self.store.end_tokens(organization_id, None, until).await?;
                for Deletion { target, .. } in workspaces {
                    if let DeletionTarget::Workspace { workspace_id, .. } = target {
                        let caller = &within(organization_id, workspace_id, caller);
                        let runs = self.end_runs(None, target, caller, until);
                        ended &= runs.await?;
                    }
                }
                Ok(ended)
            }
        }
    }

    /// Stops the runs of the caller's workspace, or of one agent of it.
    async fn end_runs(
        &self,
        agent: Option<AgentId>,
        target: DeletionTarget,
        caller: &Caller,
        until: Instant,
    ) -> Result<bool> {
        let workspace = caller.workspace_id;
        let (mut seen, mut all_stopped) = (HashSet::new(), true);
        loop {
            let mut runs = self.store.runs_under_way(workspace, agent).await?;
            // The index may still show what was stopped a moment ago.
            runs.retain(|run| seen.insert(*run));
            if runs.is_empty() {
                return Ok(all_stopped);
            }
            let stops: Vec<_> = runs
                .into_iter()
                .map(|run| self.end_run(run, target, caller, until))
                .collect();
            let mut stopping = futures::stream::iter(stops).buffer_unordered(CONCURRENCY);
            while let Some(stopped) = stopping.next().await {
                all_stopped &= stopped;
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
    }

    /// Returns `true` if the run has ended.
    async fn end_run(
        &self,
        run: RunId,
        target: DeletionTarget,
        caller: &Caller,
        until: Instant,
    ) -> bool {
        if Instant::now() >= until {
            return false;
        }
        let (workspace, why) = (caller.workspace_id, Some(target.reason()));
        match stop(&self.store, &self.clock, workspace, run, why, caller).await {
            // It was faster, or it is gone.
            Ok(_) | Err(Error::Refused(_) | Error::NotFound(_)) => true,
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(run.id = %run, %error, source, "a run of a deletion was not stopped");
                false
            }
        }
    }
}

/// The caller as acting within a workspace.
fn within(organization: OrganizationId, workspace: WorkspaceId, caller: Option<&Caller>) -> Caller {
    Caller {
        workspace_id: workspace,
        ..caller.map_or_else(|| Caller::system(organization, workspace), Clone::clone)
    }
}
