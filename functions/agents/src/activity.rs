//! What agents are doing now, as their runs tell.

use std::collections::HashSet;

use domain::Result;
use domain::agent::{Agent, AgentState};
use domain::ids::{AgentId, WorkspaceId};
use domain::run::RunStatus;
use futures::future::try_join3;
use serde::Serialize;
use store::Store;
use utoipa::ToSchema;

/// How an agent stands. Its owner's decision, or ours, comes before what its runs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentStatus {
    Idle,
    Running,
    Paused,
    /// A run waits for somebody to decide.
    WaitingApproval,
    /// Failed too often in a row; resuming clears it.
    Disabled,
}

/// Which agents have runs under way.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    running: HashSet<AgentId>,
    waiting: HashSet<AgentId>,
}

impl Activity {
    /// Of one agent, or of all in the workspace.
    pub(crate) async fn load(
        store: &Store,
        workspace: WorkspaceId,
        agent: Option<AgentId>,
    ) -> Result<Self> {
        let having = |status| store.agents_with_runs(workspace, status, agent);
        let (running, paused, waiting) = try_join3(
            having(RunStatus::Running),
            having(RunStatus::Paused),
            having(RunStatus::WaitingApproval),
        )
        .await?;
        Ok(Self {
            // This dialect has no word for a paused run.
            running: running.into_iter().chain(paused).collect(),
            waiting: waiting.into_iter().collect(),
        })
    }

    pub(crate) fn status(&self, agent: &Agent) -> AgentStatus {
        match agent.state {
            AgentState::Disabled => AgentStatus::Disabled,
            AgentState::Paused => AgentStatus::Paused,
            AgentState::Active if self.waiting.contains(&agent.id) => AgentStatus::WaitingApproval,
            AgentState::Active if self.running.contains(&agent.id) => AgentStatus::Running,
            AgentState::Active => AgentStatus::Idle,
        }
    }
}
