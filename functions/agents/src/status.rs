//! The status of an agent as AgentPlatform shows it.

use domain::agent::{Agent, AgentState};
use serde::Serialize;
use utoipa::ToSchema;

/// The status of an agent. Its owner's decision, or ours, comes before the work of its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentStatus {
    Idle,
    /// A worker has had a run of it for 0.3 seconds or longer.
    Running,
    Paused,
    /// A run waits for a person's decision. No run does yet.
    #[expect(dead_code, reason = "clients of the published API know it")]
    WaitingApproval,
    /// Failed too often in a row; resuming clears it.
    Disabled,
}

impl AgentStatus {
    /// That of an agent which has a run under way, or has none. This dialect has no word for a paused run.
    pub(crate) fn of(agent: &Agent, is_at_work: bool) -> Self {
        match agent.state {
            AgentState::Disabled => Self::Disabled,
            AgentState::Paused => Self::Paused,
            AgentState::Active if is_at_work => Self::Running,
            AgentState::Active => Self::Idle,
        }
    }
}
