//! Accepting runs, and telling the workers of them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::agent::{Agent, AgentState};
use domain::audit::{AuditEntry, Caller};
use domain::ids::{self, AgentId, RunId, WorkspaceId};
use domain::message::Advance;
use domain::payload;
use domain::plan::PlanUsage;
use domain::run::{Lineage, Run, RunStatus, RunTrigger, Signal, TokenUsage};
use domain::{Error, Result};
use futures::future::{BoxFuture, join};
use runtime::Clock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::Store;

use crate::queue::RunQueue;
use crate::run_head::{SWEEP_AFTER, is_lost};

/// A firing older than this was missed: its run counts from now, not from then.
const MISSED_AFTER: TimeDelta = TimeDelta::minutes(5);

/// The run that a caller asks for.
#[derive(Debug)]
pub struct NewRun<'a> {
    /// Chosen by the caller: starting the same run again gives the one that exists.
    pub id: RunId,
    pub trigger: RunTrigger,
    /// The event of a run of trigger `signal`.
    pub signal: Option<Signal>,
    pub input: Value,
    /// The client's name for the input, for the error when it is too large or too deep.
    pub input_field: &'a str,
    pub caller: &'a Caller,
}

/// A run to be started, with what is to be read for it.
#[derive(Debug)]
pub struct StartRun<'a> {
    /// Chosen by the caller: starting the same run again gives the one that exists.
    pub id: RunId,
    pub agent: &'a Agent,
    pub trigger: RunTrigger,
    /// The event of a run of trigger `signal`.
    pub signal: Option<Signal>,
    pub input: Value,
    /// The client's name for the input, for the error when it is too large or too deep.
    pub input_field: &'a str,
    pub caller: &'a Caller,
    /// The usage of the organization's plan, read beside the agent.
    pub plan: &'a PlanUsage,
}

/// Starts runs. Cheap to clone.
#[derive(Clone)]
pub struct Starter {
    store: Store,
    queue: RunQueue,
    clock: Clock,
}

impl Starter {
    pub fn new(store: Store, queue: RunQueue, clock: Clock) -> Self {
        Self {
            store,
            queue,
            clock,
        }
    }

    /// Accepts a run of an agent, which is read with the plan of its organization. From here on it happens, whether or not the workers
    /// hear of it at once.
    ///
    /// # Errors
    /// Those of [`Self::accept`]; `NotFound` when there is no such agent. None of them for a run that exists already.
    pub fn start<'a>(
        &'a self,
        workspace: WorkspaceId,
        agent: AgentId,
        new: NewRun<'a>,
    ) -> BoxFuture<'a, Result<Run>> {
        // Boxed here, so that no other crate compiles all of it once more.
        Box::pin(self.read_and_start(workspace, agent, new))
    }

    async fn read_and_start(
        &self,
        workspace: WorkspaceId,
        agent: AgentId,
        new: NewRun<'_>,
    ) -> Result<Run> {
        let organization = new.caller.organization_id;
        let now = self.clock.now();
        let found = self
            .store
            .agent_and_plan(workspace, agent, organization, now);
        let (agent, plan) = found.await?;
        let Some(agent) = &agent else {
            let refusal = Error::NotFound("agent");
            return self.started_or(refusal, workspace, new.id).await;
        };
        let start = StartRun {
            id: new.id,
            agent,
            trigger: new.trigger,
            signal: new.signal,
            input: new.input,
            input_field: new.input_field,
            caller: new.caller,
            plan: &plan,
        };
        self.accept(start).await
    }

    /// Accepts a run of an agent that was just read.
    ///
    /// # Errors
    /// `Refused` when the agent does not run, `Invalid` when the input is too large or too deep, `Forbidden` when the plan allows no more.
    /// None of them for a run that exists already, which comes without a large input or output.
    pub async fn accept(&self, start: StartRun<'_>) -> Result<Run> {
        self.write(start, None).await
    }

    /// The run that was started as `id`; else the `refusal` to start it.
    ///
    /// # Errors
    /// The refusal.
    async fn started_or(&self, refusal: Error, workspace: WorkspaceId, id: RunId) -> Result<Run> {
        let existing = self.store.run_head(workspace, id).await?;
        existing.ok_or(refusal)
    }

    /// Accepts a run that another run wants; otherwise like [`Self::accept`].
    pub(crate) async fn start_child(&self, lineage: Lineage, start: StartRun<'_>) -> Result<Run> {
        self.write(start, Some(lineage)).await
    }

    async fn write(&self, start: StartRun<'_>, lineage: Option<Lineage>) -> Result<Run> {
        let workspace = start.agent.workspace_id;
        if let Err(refusal) = admissible(&start) {
            return self.started_or(refusal, workspace, start.id).await;
        }
        let now = self.clock.now();
        let run = Run {
            lineage,
            ..queued(&start, now, now)
        };
        let audit = AuditEntry::new(start.caller, "run.started", "run", run.id, now);
        match self.create(&run, None, &audit).await {
            Ok(()) => {
                self.announce(&run).await;
                Ok(run)
            }
            Err(conflict @ Error::Conflict(_)) => {
                self.started_or(conflict, workspace, run.id).await
            }
            Err(error) => Err(error),
        }
    }

    /// Starts the run that an agent's schedule is due for, and moves the schedule on, in one write: every firing starts one
    /// run, however often this is called. Firings that were missed for more than five minutes become one run; call it until there is
    /// nothing to fire.
    ///
    /// `None` when there is nothing to fire: too early, not active, fired by another tick, or more than the plan allows. That
    /// firing is left out for good, which the audit log tells.
    pub async fn fire(&self, agent: &Agent) -> Result<Option<Run>> {
        let now = self.clock.now();
        let firing = agent.next_run_at.filter(|at| *at <= now);
        let Some(firing) = firing.filter(|_| agent.state == AgentState::Active) else {
            return Ok(None);
        };
        // Ticks may be almost two minutes apart: every firing between them counts. The older ones become one run.
        let created_at = if now - firing > MISSED_AFTER {
            now
        } else {
            firing
        };
        let caller = Caller::system(agent.organization_id, agent.workspace_id);
        let moved_on = Agent {
            next_run_at: agent.next_firing(created_at),
            ..agent.clone()
        };
        let plan = self.store.plan(agent.organization_id, now).await?;
        if plan.admit_run().is_err() {
            let audit = AuditEntry::new(&caller, "run.refused_by_plan", "agent", agent.id, now);
            let mut transaction = self.store.transaction();
            transaction.put_agent(&moved_on);
            transaction.audit(&audit);
            return match transaction.commit().await {
                Err(error) if !is_lost(&error) => Err(error),
                _ => Ok(None),
            };
        }
        let start = StartRun {
            id: RunId::from(ids::deterministic(created_at, &seed(agent, firing))),
            agent,
            trigger: RunTrigger::Schedule,
            signal: None,
            input: json!({}),
            input_field: "input",
            caller: &caller,
            plan: &plan,
        };
        let run = queued(&start, created_at, now);
        let audit = AuditEntry::new(&caller, "run.started", "run", run.id, now);
        match self.create(&run, Some(&moved_on), &audit).await {
            Ok(()) => {
                self.announce(&run).await;
                Ok(Some(run))
            }
            Err(Error::Conflict(_)) => {
                self.skip(agent, &moved_on).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Advances the schedule when the firing's run already exists. Usually another tick did both; but if a clock skew re-armed an old
    /// firing, leaving it would make every tick conflict with the same run.
    async fn skip(&self, agent: &Agent, moved_on: &Agent) -> Result<()> {
        let stored = self.store.agent(agent.workspace_id, agent.id).await?;
        if stored.is_none_or(|stored| stored.revision != agent.revision) {
            return Ok(());
        }
        let mut transaction = self.store.transaction();
        transaction.put_agent(moved_on);
        match transaction.commit().await {
            Err(error) if is_lost(&error) => Ok(()),
            result => result,
        }
    }

    /// Writes a run and counts it against its organization's plan, if that has limits, side by side. One that was there before does
    /// not count.
    async fn create(&self, run: &Run, agent: Option<&Agent>, audit: &AuditEntry) -> Result<()> {
        if !run.counts_in_plan {
            return self.store.create_run(run, agent, audit).await;
        }
        let created = self.store.create_run(run, agent, audit);
        let (created, ()) = join(created, self.count(run, 1)).await;
        // What may have happened all the same stays counted.
        if matches!(&created, Err(error) if !error.is_retryable()) {
            self.count(run, -1).await;
        }
        created
    }

    async fn count(&self, run: &Run, runs: i64) {
        let now = self.clock.now();
        let counted = self.store.count_runs(run.organization_id, runs, now);
        if let Err(error) = counted.await {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(run.id = %run.id, %error, source, "run not counted against the plan");
        }
    }

    /// Tells the workers of a run that is written. It is accepted already, and the sweep finds what this loses.
    pub(crate) async fn announce(&self, run: &Run) {
        let sent = self.queue.send(Advance::of(run), Duration::ZERO);
        if let Err(error) = sent.await {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(run.id = %run.id, %error, source, "run not announced; the sweep will find it");
        }
    }
}

/// Returns `true` if a run may start now.
fn admissible(start: &StartRun<'_>) -> Result<()> {
    match start.agent.state {
        AgentState::Active => {}
        AgentState::Paused => return Err(Error::Refused("agent is paused".to_owned())),
        AgentState::Disabled => {
            return Err(Error::Refused(
                "agent is disabled after repeated failures; resume it first".to_owned(),
            ));
        }
    }
    payload::check(&start.input).map_err(|why| Error::invalid(start.input_field, why))?;
    start.plan.admit_run()
}

/// A run that waits for a worker.
fn queued(start: &StartRun<'_>, created_at: DateTime<Utc>, now: DateTime<Utc>) -> Run {
    let agent = start.agent;
    Run {
        id: start.id,
        organization_id: agent.organization_id,
        workspace_id: agent.workspace_id,
        agent_id: agent.id,
        agent_version_id: agent.version_id,
        status: RunStatus::Queued,
        version: 0,
        steps: 0,
        trigger: start.trigger,
        signal: start.signal.clone(),
        lineage: None,
        input: Some(start.input.clone()),
        output: None,
        error: None,
        tokens: TokenUsage::default(),
        cost_micros: 0,
        worked_millis: 0,
        lease: None,
        lost_leases: 0,
        abandoned_leases: 0,
        counts_in_plan: start.plan.counts_runs(),
        showing: None,
        pause_requested: false,
        due_at: Some(now + SWEEP_AFTER),
        created_at,
        started_at: None,
        finished_at: None,
    }
}

/// The seed of the id of a firing's run.
fn seed(agent: &Agent, firing: DateTime<Utc>) -> [u8; 32] {
    let text = format!("firing#{}#{}", agent.id, firing.timestamp_millis());
    Sha256::digest(text.as_bytes()).into()
}
