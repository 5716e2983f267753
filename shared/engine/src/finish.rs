//! The end of a run: its result, what people see of it, and what it means for the agent, in one write.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::agent::{Agent, AgentState, MAX_CONSECUTIVE_FAILURES};
use domain::audit::{AuditEntry, Caller};
use domain::ids::{MessageId, RunId, WorkspaceId};
use domain::run::{
    DisplayMessage, MessageKind, MessageLevel, Run, RunStatus, StepEvent, TokenUsage,
};
use domain::{Error, Result};
use rand::RngExt;
use runtime::Clock;
use serde_json::Value;
use store::{RunWrite, Store};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::outcome::Outcome;
use crate::run_head::{append_events, is_as, is_held, is_lost};

/// The number of times that the end of a run is tried against other writers of its agent.
const COLLISIONS: u32 = 10;
/// The time that the end of a run is tried that no worker holds.
pub(crate) const WITHOUT_A_LEASE: Duration = Duration::from_secs(5);

/// The end of a run.
pub(crate) struct Ending<'a> {
    pub(crate) outcome: Outcome,
    /// The events of its journal that are not written yet.
    pub(crate) events: &'a [StepEvent],
    pub(crate) tokens: TokenUsage,
    pub(crate) cost_micros: u64,
    /// The form in which a result is shown.
    pub(crate) shown: (MessageKind, MessageLevel),
}

/// What is known of a run that is to end.
pub(crate) struct Known {
    /// It may have an entry in its agent's status.
    pub(crate) is_entered: bool,
    /// Its agent, read a moment ago.
    pub(crate) agent: Option<Agent>,
}

impl Ending<'_> {
    /// The end of a run at the step where it stands.
    pub(crate) fn failed(run: &Run, why: &str) -> Self {
        Self {
            outcome: Outcome::Failed {
                error: why.to_owned(),
            },
            events: &[],
            tokens: run.tokens,
            cost_micros: run.cost_micros,
            shown: (MessageKind::Alert, MessageLevel::Warning),
        }
    }

    /// A run is stopped at the step where it stands.
    pub(crate) fn stopped(run: &Run, note: Option<String>) -> Self {
        Self {
            outcome: Outcome::Stopped { note },
            events: &[StepEvent::Stopped],
            ..Self::failed(run, "")
        }
    }
}

/// Ends a run whose message no worker could process. Runs that have ended, wait for a person or are held by a worker are left
/// alone.
///
/// # Errors
/// `Unavailable` when the store is, or when the run was written meanwhile: the same call may succeed later.
pub async fn give_up(
    store: &Store,
    clock: &Clock,
    workspace: WorkspaceId,
    id: RunId,
) -> Result<()> {
    let Some(run) = store.run_head(workspace, id).await? else {
        return Ok(());
    };
    let runnable = matches!(run.status, RunStatus::Queued | RunStatus::Running);
    if !runnable || is_held(&run, clock.now(), None) {
        return Ok(());
    }
    let ending = Ending::failed(&run, "gave up: the run's message could not be processed");
    match finish_now(store, clock, run, &ending).await {
        Err(error) if is_lost(&error) => Err(Error::unavailable(error)),
        result => result,
    }
}

/// Ends a run that no worker holds, for the platform.
///
/// # Errors
/// Like [`finish`].
pub(crate) async fn finish_now(
    store: &Store,
    clock: &Clock,
    run: Run,
    ending: &Ending<'_>,
) -> Result<()> {
    let caller = Caller::system(run.organization_id, run.workspace_id);
    let until = Instant::now() + WITHOUT_A_LEASE;
    let ended = finish(store, clock, run, ending, &caller, until);
    ended.await.map(drop)
}

/// Ends `run`, which was read or written at its `version`, and counts what it used. `caller`: who ends it. What the store cannot
/// take is tried again `until` then.
///
/// # Errors
/// `Conflict` when the run has been written since; nothing has happened then.
pub(crate) async fn finish(
    store: &Store,
    clock: &Clock,
    run: Run,
    ending: &Ending<'_>,
    caller: &Caller,
    until: Instant,
) -> Result<Run> {
    let known = Known {
        is_entered: true,
        agent: None,
    };
    let ended = write_end(store, clock, run, known, ending, caller, until).await?;
    count_usage(store, &ended).await;
    Ok(ended)
}

/// Counts what a run has used. Beside its end, since all runs of an organization meet here: a worker that dies in between leaves
/// this one uncounted.
pub(crate) async fn count_usage(store: &Store, ended: &Run) {
    let at = ended.finished_at.unwrap_or(ended.created_at);
    if let Err(error) = store.count_usage(ended, at).await {
        tracing::warn!(run.id = %ended.id, %error, "usage not counted");
    }
}

/// Writes the end of a run of which something is `known`; otherwise like [`finish`].
pub(crate) async fn write_end(
    store: &Store,
    clock: &Clock,
    mut run: Run,
    mut known: Known,
    ending: &Ending<'_>,
    caller: &Caller,
    until: Instant,
) -> Result<Run> {
    // The same in all attempts, by which one of before is known whose answer got lost.
    let now = clock.now();
    let mut backoff = Backoff::until(until);
    let mut collisions = 0;
    let ended = loop {
        let error = match write(store, now, &run, &known, ending, caller).await {
            Ok(ended) => break ended,
            Err(error) => error,
        };
        known.agent = None;
        let error = if is_lost(&error) {
            // Either the run has moved on, which ends this, or only its lease or its agent has, which is read again, or what is
            // wanted of its worker has changed, for which it is too late.
            match store.run_head(run.workspace_id, run.id).await {
                Ok(Some(stored)) if stored.finished_at == Some(now) => break stored,
                Ok(Some(stored)) if stored.version == run.version || is_as(&stored, &run) => {
                    (run.version, run.pause_requested) = (stored.version, stored.pause_requested);
                    run.showing = stored.showing;
                    collisions += 1;
                    if collisions == COLLISIONS {
                        return Err(error);
                    }
                    let wait = rand::rng().random_range(1..=(10 << collisions));
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    continue;
                }
                Ok(_) => return Err(error),
                Err(unread) => unread,
            }
        } else {
            error
        };
        if !error.is_retryable() || !backoff.wait().await {
            return Err(error);
        }
    };
    tracing::info!(run.id = %ended.id, agent.id = %ended.agent_id, run.status = ended.status.as_str(), "run finished");
    Ok(ended)
}

async fn write(
    store: &Store,
    now: DateTime<Utc>,
    run: &Run,
    known: &Known,
    ending: &Ending<'_>,
    caller: &Caller,
) -> Result<Run> {
    let read = match &known.agent {
        Some(_) => None,
        None => store.agent(run.workspace_id, run.agent_id).await?,
    };
    let agent = known.agent.as_ref().or(read.as_ref());
    let mut next = run.clone();
    let steps = append_events(&mut next, ending.events, now);
    let failed = matches!(ending.outcome, Outcome::Failed { .. });
    let agent_after = match &ending.outcome {
        // A stop says nothing about the agent.
        Outcome::Stopped { .. } => None,
        _ => agent.and_then(|agent| after(agent, failed, now)),
    };
    let disabled = agent_after
        .as_ref()
        .is_some_and(|agent| agent.state == AgentState::Disabled);
    let message = message(&next, agent, disabled, ending, now);

    next.pause_requested = false;
    let action = match &ending.outcome {
        Outcome::Completed { output } => {
            next.status = RunStatus::Completed;
            next.output = Some(output.clone());
            "run.completed"
        }
        Outcome::Failed { error } => {
            next.status = RunStatus::Failed;
            next.error = Some(error.clone());
            "run.failed"
        }
        Outcome::Stopped { note } => {
            next.status = RunStatus::Stopped;
            next.error.clone_from(note);
            "run.stopped"
        }
    };
    next.tokens = ending.tokens;
    next.cost_micros = ending.cost_micros;
    next.lease = None;
    next.due_at = None;
    next.finished_at = Some(now);

    let mut audit = vec![AuditEntry::new(caller, action, "run", run.id, now)];
    if disabled {
        let system = Caller::system(run.organization_id, run.workspace_id);
        let agent = run.agent_id;
        audit.push(AuditEntry::new(
            &system,
            "agent.disabled",
            "agent",
            agent,
            now,
        ));
        tracing::info!(run.id = %run.id, agent.id = %agent, "agent disabled");
    }
    let write = RunWrite {
        read: run,
        run: &next,
        is_entered: known.is_entered,
        steps: &steps,
        messages: message.as_slice(),
        agent: agent_after.as_ref(),
        audit: &audit,
    };
    store.write_run(write).await?;
    next.version += 1;
    Ok(next)
}

/// The agent after a run has ended; `None` when that changes nothing. A disabled agent is left unchanged: runs that were in progress
/// no longer count towards its failures.
fn after(agent: &Agent, failed: bool, now: DateTime<Utc>) -> Option<Agent> {
    match (agent.state, failed) {
        (AgentState::Disabled, _) => None,
        (_, true) => {
            let mut agent = agent.clone();
            agent.consecutive_failures += 1;
            if agent.consecutive_failures >= MAX_CONSECUTIVE_FAILURES {
                agent.state = AgentState::Disabled;
                agent.next_run_at = None;
                agent.updated_at = now;
            }
            Some(agent)
        }
        (_, false) if agent.consecutive_failures > 0 => Some(Agent {
            consecutive_failures: 0,
            ..agent.clone()
        }),
        (_, false) => None,
    }
}

fn message(
    run: &Run,
    agent: Option<&Agent>,
    disabled: bool,
    ending: &Ending<'_>,
    now: DateTime<Utc>,
) -> Option<DisplayMessage> {
    let (kind, level, content) = match &ending.outcome {
        Outcome::Completed { output } => {
            let text = output.get("text").and_then(Value::as_str);
            let (kind, level) = ending.shown;
            (kind, level, text.unwrap_or_default().to_owned())
        }
        Outcome::Failed { error } if disabled => (
            MessageKind::Alert,
            MessageLevel::Critical,
            format!(
                "{error}\n\nThe agent is disabled: {MAX_CONSECUTIVE_FAILURES} runs in a row have failed."
            ),
        ),
        Outcome::Failed { error } => (MessageKind::Alert, MessageLevel::Warning, error.clone()),
        // The person who stopped it knows.
        Outcome::Stopped { .. } => return None,
    };
    Some(DisplayMessage {
        id: MessageId::new(now),
        workspace_id: run.workspace_id,
        agent_id: run.agent_id,
        run_id: run.id,
        kind,
        title: agent
            .map_or("A deleted agent", |agent| agent.name.as_str())
            .to_owned(),
        content,
        level,
        created_at: now,
    })
}
