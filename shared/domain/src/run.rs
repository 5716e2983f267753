//! Runs: one invocation of an agent, from its input to its result. Prodgy calls them executions.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::ids::{
    AgentId, AgentVersionId, MessageId, OrganizationId, RunId, SignalId, WorkspaceId,
};
use crate::model::ModelName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Queued,
    Running,
    Paused,
    WaitingApproval,
    Completed,
    Failed,
    Stopped,
}

impl RunStatus {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::WaitingApproval,
        Self::Completed,
        Self::Failed,
        Self::Stopped,
    ];

    /// Nothing more will happen to the run.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Stopped)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::WaitingApproval => "waiting_approval",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// The trigger of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunTrigger {
    Schedule,
    Signal,
    Webhook,
    Manual,
    Agent,
}

/// The event that started a run of trigger `signal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    pub id: SignalId,
    /// The sender's word for what happened, at most 100 characters.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The depth below the first one that a run of trigger `agent` may have.
pub const MAX_DEPTH: usize = 5;

/// The number of runs that a run may start, by its own depth. Everything that one run leads to is bounded by it: 720 runs.
const MAX_STARTED: [usize; MAX_DEPTH] = [20, 5, 2, 1, 1];

/// The origin of a run of trigger `agent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The run that started it.
    pub parent: RunId,
    /// The agents of the runs above it, the first one first: as many as it is runs deep.
    pub agents: Vec<AgentId>,
}

impl Lineage {
    /// The number of runs that a run with this lineage may start.
    pub fn max_children(above: Option<&Self>) -> usize {
        let depth = above.map_or(0, |above| above.agents.len());
        // Where none may be started at all, the attempt is told why.
        MAX_STARTED.get(depth).copied().unwrap_or(1)
    }

    /// That of a run of `agent` which `run` starts.
    ///
    /// # Errors
    /// The text for people: it would go round in a circle, or too deep.
    pub fn child_of(
        run: RunId,
        of: AgentId,
        above: Option<&Self>,
        agent: AgentId,
    ) -> Result<Self, String> {
        let mut agents = above.map_or_else(Vec::new, |above| above.agents.clone());
        agents.push(of);
        if agents.contains(&agent) {
            return Err("that agent is already at work above this run: agents cannot start each other in a circle".to_owned());
        }
        if agents.len() > MAX_DEPTH {
            return Err(format!(
                "this run is {MAX_DEPTH} runs deep already, and no agent is started below that"
            ));
        }
        Ok(Self {
            parent: run,
            agents,
        })
    }
}

/// The tokens that the models of a run have read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenUsage {
    pub input: u64,
    pub output: u64,
}

impl std::ops::AddAssign for TokenUsage {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
    }
}

/// A worker's claim on a run. The run's version fences the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// A random number of the worker's, by which it knows a write of its own whose answer got lost.
    #[serde(default)]
    pub holder: u64,
    pub acquired_at: DateTime<Utc>,
    /// The worker works on nothing else meanwhile.
    #[serde(default, skip_serializing_if = "is_default")]
    pub alone: bool,
    /// The number of the place that the worker took the run with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub place: Option<u16>,
    /// From when on another worker may take over.
    pub until: DateTime<Utc>,
}

/// The head of a run: how it stands, without its journal.
///
/// As JSON it is short, since it is written with every step: it leaves out what is absent or zero, and what the keys of its item say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// In the item's keys, as the workspace and the agent.
    #[serde(skip_serializing, default = "nil")]
    pub id: RunId,
    pub organization_id: OrganizationId,
    #[serde(skip_serializing, default = "nil")]
    pub workspace_id: WorkspaceId,
    #[serde(skip_serializing, default = "nil")]
    pub agent_id: AgentId,
    /// The definition that the run follows, also when the agent is changed meanwhile.
    pub agent_version_id: AgentVersionId,
    pub status: RunStatus,
    /// Counts writes of this head; every write names the one that it has seen, which fences two workers.
    #[serde(skip)]
    pub version: u64,
    /// The number of journal steps.
    #[serde(default, skip_serializing_if = "is_default")]
    pub steps: u32,
    pub trigger: RunTrigger,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Of a run of trigger `agent`.
    #[serde(default, rename = "ancestry", skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// `None` where it is too large for a list, and in lists then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// The result once completed; `None` where it is too large for a list, and in lists then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: TokenUsage,
    /// The cost of its models, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cost_micros: u64,
    /// The time that workers have had the run, up to the last write of one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub worked_millis: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Leases that ran out while the journal stood at `steps` and the worker worked on nothing else.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lost_leases: u8,
    /// The number that ended with the whole platform, at the same step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub abandoned_leases: u8,
    /// `true` if the run counts against its organization's plan: one without limits is not counted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub counts_in_plan: bool,
    /// The place in the journal of the answer of which pieces are shown. A fence item, which is there as long as this is set, lets
    /// only the holder of the lease add to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub showing: Option<u32>,
    /// A pause request for the worker that holds the lease. It is stored as a separate attribute, so that it does not bump the
    /// head's version: the result of an in-flight call can still be written.
    #[serde(skip)]
    pub pause_requested: bool,
    /// The time when the tick looks after the run; `None` when nothing happens to it by itself. It is kept in the due index alone, and only a
    /// write that changes it writes there.
    #[serde(skip)]
    pub due_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn nil<T: From<Uuid>>() -> T {
    Uuid::nil().into()
}

/// One entry of a run's journal. The state of a run is the fold of its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// From 0, without gaps.
    pub index: u32,
    pub at: DateTime<Utc>,
    pub event: StepEvent,
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepEvent {
    /// The model answered: with text, with tool calls to make, or both.
    ModelAnswered {
        text: String,
        tool_calls: Vec<ToolCall>,
        usage: TokenUsage,
        /// The cost, in millionths of a US dollar.
        #[serde(default)]
        cost_micros: u64,
        /// The answer as the model gave it, where text and calls do not say it all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<ProviderContent>,
    },
    /// A tool is about to be called. Without a result after it, the effect may or may not have happened.
    ToolIntended {
        call_id: String,
        idempotent: bool,
    },
    /// A tool call came back, with a value or with an error that the model shall see.
    ToolReturned {
        call_id: String,
        outcome: ToolOutcome,
    },
    /// The run was paused by a request: no step is taken before another one continues it.
    Paused,
    Continued,
    /// The run was ended by a request.
    Stopped,
}

/// A piece of a model's answer while the model still writes. It is shown to clients that watch the run and is no part of its state:
/// should the answer break off, it is asked for again, and what was shown of it is void.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamChunk {
    /// The place in the journal that the answer will have.
    pub position: u32,
    /// From 0, without gaps, through all attempts at the answer.
    pub sequence: u32,
    pub at: DateTime<Utc>,
    pub event: StreamChunkEvent,
}

/// A visible event of an answer that is on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StreamChunkEvent {
    /// A model is asked. From the second `attempt` on, the text before it is void: the answer broke off, or its worker died.
    ModelAsked { model: ModelName, attempt: u32 },
    /// More of the answer's text.
    Text { text: String },
}

/// A model's answer in its provider's words, reasoning and signatures included. That model gets it back unchanged; no other does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderContent {
    pub model: ModelName,
    pub content: Value,
}

/// A call that a model asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Unique within the run.
    pub id: String,
    pub tool: String,
    pub arguments: Value,
}

/// The outcome of a tool call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolOutcome {
    Ok(Value),
    Error(String),
}

/// Something that a run shows to people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DisplayMessage {
    pub id: MessageId,
    pub workspace_id: WorkspaceId,
    pub agent_id: AgentId,
    pub run_id: RunId,
    pub kind: MessageKind,
    pub title: String,
    pub content: String,
    pub level: MessageLevel,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    Text,
    Markdown,
    Alert,
    Table,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageLevel {
    Info,
    Warning,
    Critical,
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn agents_start_each_other_neither_in_circles_nor_without_end() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        let run = RunId::new(at(1));
        let agents: Vec<_> = (0..8).map(|millis| AgentId::new(at(millis))).collect();
        let mut above = None;
        for depth in 0..MAX_DEPTH {
            let itself = Lineage::child_of(run, agents[depth], above.as_ref(), agents[depth]);
            assert!(itself.unwrap_err().contains("circle"));
            above = Some(
                Lineage::child_of(run, agents[depth], above.as_ref(), agents[depth + 1]).unwrap(),
            );
            let first = Lineage::child_of(run, agents[depth + 1], above.as_ref(), agents[0]);
            assert!(first.unwrap_err().contains("circle"));
        }
        assert_eq!(above.as_ref().unwrap().agents, agents[..MAX_DEPTH]);
        let deeper = Lineage::child_of(
            run,
            agents[MAX_DEPTH],
            above.as_ref(),
            agents[MAX_DEPTH + 1],
        );
        assert!(deeper.unwrap_err().contains("5 runs deep"));
    }
}
