//! Tools on the agents and runs of the workspace that their run belongs to.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::Error;
use domain::agent::Agent;
use domain::audit::Caller;
use domain::ids::{self, AgentId, RunId, WorkspaceId};
use domain::page::{Cursor, PageRequest};
use domain::run::{DisplayMessage, Lineage, Run, RunStatus, RunTrigger};
use futures::future::{BoxFuture, try_join, try_join_all};
use runtime::Clock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::Store;
use tokio::time::{Instant, sleep};
use tools::{AgentCall, CallingRun, ToolError, Workspace};

use crate::places::Places;
use crate::start::{StartRun, Starter};

/// The time that a call waits for the run that it started. The worker that waits works on nothing else meanwhile, and the run may
/// need one: the wait ends whatever happens, so workers that all wait are free again soon.
const MAX_WAIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The time that the run that is waited for may be queued before it is lent a place, and when that is tried again.
const LENT_AFTER: Duration = Duration::from_millis(200);
const LENT_AGAIN: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Up to this size a result is handed to the run that waited for it, in bytes of JSON.
const MAX_RESULT: usize = 64 * 1024;
/// The number of a workspace's agents, the newest ones, that are known by name to those that may start any.
const KNOWN_BY_NAME: u32 = 100;
/// The number of names that an error lists.
const LISTED: usize = 20;
/// The number of ends of runs that are looked at, of completed and failed ones each.
const MESSAGES: u32 = 200;
/// The part of a result or an error that is told, in characters.
const TOLD: usize = 280;

/// The agents and runs of workspaces, for tools. Cheap to clone.
#[derive(Clone)]
pub struct WorkspaceTools {
    store: Store,
    starter: Starter,
    places: Places,
    clock: Clock,
}

impl Workspace for WorkspaceTools {
    fn trigger<'a>(&'a self, call: AgentCall<'a>) -> BoxFuture<'a, Result<Value, ToolError>> {
        Box::pin(self.trigger_agent(call))
    }

    fn activity<'a>(
        &'a self,
        by: &'a CallingRun,
        hours: u32,
    ) -> BoxFuture<'a, Result<Value, ToolError>> {
        Box::pin(self.activity_of_others(by, hours))
    }
}

impl WorkspaceTools {
    pub fn new(store: Store, starter: Starter, places: Places, clock: Clock) -> Self {
        Self {
            store,
            starter,
            places,
            clock,
        }
    }

    async fn trigger_agent(&self, call: AgentCall<'_>) -> Result<Value, ToolError> {
        let wait = call.wait;
        let by = call.by;
        let id = RunId::from(ids::deterministic(by.started_at, &seed(call.key)));
        let run = match self.start(id, call).await {
            Ok(run) => run,
            Err(why @ ToolError::Unavailable(_)) => return Err(why),
            // An earlier attempt may have started it, before the agent was paused, say.
            Err(why) => {
                let earlier = self.store.run_head(by.workspace_id, id).await;
                earlier.map_err(tool_error)?.ok_or(why)?
            }
        };
        let run = if wait {
            self.wait_until(run, by).await
        } else {
            run
        };
        Ok(shown(&run))
    }

    async fn start(&self, id: RunId, call: AgentCall<'_>) -> Result<Run, ToolError> {
        let by = call.by;
        let plan = async {
            let plan = self.store.plan(by.organization_id, self.clock.now());
            plan.await.map_err(tool_error)
        };
        let (agent, plan) = try_join(self.find(&call), plan).await?;
        let lineage = Lineage::child_of(by.id, by.agent_id, by.lineage.as_ref(), agent.id)
            .map_err(ToolError::NotAllowed)?;
        let start = StartRun {
            id,
            agent: &agent,
            plan: &plan,
            trigger: RunTrigger::Agent,
            signal: None,
            input: call.input,
            input_field: "input",
            caller: &Caller::system(by.organization_id, by.workspace_id),
        };
        let started = self.starter.start_child(lineage, start).await;
        started.map_err(tool_error)
    }

    /// The agent that a call names, among those that it may start.
    async fn find(&self, call: &AgentCall<'_>) -> Result<Agent, ToolError> {
        let workspace = call.by.workspace_id;
        let wanted = call.agent.parse::<AgentId>().ok();
        let any = call.allowed.iter().any(|allowed| allowed == "*");
        let allowed = call.allowed.iter().filter_map(|id| id.parse().ok());
        let allowed: Vec<AgentId> = match wanted {
            Some(id) if any => vec![id],
            Some(id) => allowed.filter(|allowed| *allowed == id).collect(),
            None => allowed.collect(),
        };
        let known = if any && wanted.is_none() {
            self.newest(workspace).await.map_err(tool_error)?
        } else {
            let read = allowed.iter().map(|id| self.store.agent(workspace, *id));
            let read = try_join_all(read).await.map_err(tool_error)?;
            read.into_iter().flatten().collect()
        };
        let is_wanted = |agent: &&Agent| match wanted {
            Some(id) => agent.id == id,
            None => agent.name.as_str() == call.agent,
        };
        let found: Vec<_> = known.iter().filter(is_wanted).collect();
        match found[..] {
            [agent] => Ok(agent.clone()),
            [] => {
                let names: Vec<_> = known
                    .iter()
                    .take(LISTED)
                    .map(|agent| agent.name.as_str())
                    .collect();
                let others = if names.is_empty() {
                    String::new()
                } else {
                    format!("; it may start: {}", names.join(", "))
                };
                let agent = call.agent;
                Err(ToolError::NotAllowed(format!(
                    "no such agent: this agent may start none called {agent}{others}"
                )))
            }
            _ => {
                let ids: Vec<_> = found.iter().map(|agent| agent.id.to_string()).collect();
                Err(ToolError::InvalidArguments(format!(
                    "agent: several have this name; their ids are {}",
                    ids.join(", ")
                )))
            }
        }
    }

    /// The agents of a workspace that are known by name.
    async fn newest(&self, workspace: WorkspaceId) -> Result<Vec<Agent>, Error> {
        let mut known: Vec<Agent> = Vec::new();
        let mut cursor = None;
        // A page has fewer than it may have where agents are large.
        loop {
            let left = KNOWN_BY_NAME.saturating_sub(u32::try_from(known.len()).unwrap_or(u32::MAX));
            let page = PageRequest {
                cursor,
                ..PageRequest::first(left)
            };
            let page = self.store.agents(workspace, &page).await?;
            known.extend(page.items);
            cursor = page.next_cursor.map(Cursor::from);
            if cursor.is_none() || known.len() >= KNOWN_BY_NAME as usize {
                return Ok(known);
            }
        }
    }

    /// The run once it is over, or as it stands when there is no more time.
    ///
    /// One that no worker has taken yet may find no place beside that of `by`, the run which waits for it, and is lent that.
    async fn wait_until(&self, mut run: Run, by: &CallingRun) -> Run {
        let until = Instant::now() + MAX_WAIT;
        let mut lending = Instant::now() + LENT_AFTER;
        let mut pause = FIRST_PAUSE;
        while !run.status.is_final() && Instant::now() < until {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            // The run is accepted whether or not we can look at it now.
            if let Ok(Some(current)) = self.store.run_head(run.workspace_id, run.id).await {
                run = current;
            }
            if run.status == RunStatus::Queued && lending <= Instant::now() {
                lending = Instant::now() + LENT_AGAIN;
                if let Err(error) = self.places.lend(by, &run).await {
                    tracing::warn!(run.id = %by.id, %error, "place not lent");
                }
            }
        }
        let lacks_output = run.status == RunStatus::Completed && run.output.is_none();
        if lacks_output && let Ok(Some(whole)) = self.store.run(run.workspace_id, run.id).await {
            run = whole;
        }
        run
    }

    async fn activity_of_others(&self, by: &CallingRun, hours: u32) -> Result<Value, ToolError> {
        let now = self.clock.now();
        let since = now - TimeDelta::hours(hours.into());
        let page = PageRequest::first(MESSAGES);
        let read = |status| {
            let messages = self
                .store
                .messages_in_status(by.workspace_id, status, since, &page);
            async { messages.await.map_err(tool_error) }
        };
        let (completed, failed) =
            try_join(read(RunStatus::Completed), read(RunStatus::Failed)).await?;
        let more = completed.next_cursor.is_some() || failed.next_cursor.is_some();
        let others = |messages: Vec<DisplayMessage>| {
            let others = messages
                .into_iter()
                .filter(|message| message.agent_id != by.agent_id);
            others.collect::<Vec<_>>()
        };
        let (completed, failed) = (others(completed.items), others(failed.items));
        Ok(activity(&completed, &failed, more, since, now))
    }
}

/// The activity of an agent.
#[derive(Default)]
struct Tally<'a> {
    completed: Vec<&'a DisplayMessage>,
    failed: Vec<&'a DisplayMessage>,
}

/// The activity of agents, by the ends of their runs, the newest first: those that failed most come first.
fn activity(
    completed: &[DisplayMessage],
    failed: &[DisplayMessage],
    more: bool,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Value {
    let mut tallies: BTreeMap<AgentId, Tally<'_>> = BTreeMap::new();
    for message in completed {
        tallies
            .entry(message.agent_id)
            .or_default()
            .completed
            .push(message);
    }
    for message in failed {
        tallies
            .entry(message.agent_id)
            .or_default()
            .failed
            .push(message);
    }
    let mut tallies: Vec<_> = tallies.into_iter().collect();
    tallies
        .sort_by_key(|(_, tally)| std::cmp::Reverse((tally.failed.len(), tally.completed.len())));
    let agents: Vec<_> = tallies
        .iter()
        .map(|(agent, tally)| {
            let (result, error) = (tally.completed.first(), tally.failed.first());
            let latest = [result, error]
                .into_iter()
                .flatten()
                .max_by_key(|message| message.id);
            json!({
                "agent_id": agent,
                "name": latest.map(|message| message.title.as_str()),
                "completed": tally.completed.len(),
                "failed": tally.failed.len(),
                "latest_at": latest.map(|message| message.created_at),
                "latest_result": result.map(|message| told(&message.content)),
                "latest_error": error.map(|message| told(&message.content)),
            })
        })
        .collect();
    json!({
        "since": since,
        "until": until,
        "completed": completed.len(),
        "failed": failed.len(),
        "more": more,
        "agents": agents,
    })
}

/// The beginning of a text, on one line.
fn told(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A run for the one that wanted it.
fn shown(run: &Run) -> Value {
    let mut shown = json!({
        "run_id": run.id,
        "agent_id": run.agent_id,
        "status": run.status.as_str(),
    });
    if let Some(error) = &run.error {
        shown["error"] = json!(error);
    }
    if let Some(output) = &run.output {
        let size = output.to_string().len();
        if size <= MAX_RESULT {
            shown["output"] = output.clone();
        } else {
            shown["note"] = json!(format!(
                "the output is too large to be handed on ({size} bytes)"
            ));
        }
    }
    shown
}

/// The seed of the id of a run that a call has started.
fn seed(key: &str) -> [u8; 32] {
    Sha256::digest(format!("trigger#{key}").as_bytes()).into()
}

fn tool_error(error: Error) -> ToolError {
    match error {
        Error::Invalid(_) => ToolError::InvalidArguments(error.to_string()),
        Error::Refused(why) => ToolError::Failed(why),
        // The plan's word.
        Error::Forbidden(why) => ToolError::NotAllowed(why),
        error => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, source, "tool could not use the store");
            ToolError::Unavailable("the platform could not do this now".to_owned())
        }
    }
}
