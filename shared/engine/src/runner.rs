//! Carrying a run out: the machine says what to do, the runner does it.

use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::agent::AgentVersion;
use domain::ids::{RunId, WorkspaceId};
use domain::run::{Run, RunStatus, Step, ToolOutcome};
use futures::future::try_join;
use runtime::Clock;
use serde_json::Value;
use store::{LoadedRun, Store};
use tools::Toolbox;

use crate::calls::{self, Patience};
use crate::definition::Definition;
use crate::finish::{Ending, finish};
use crate::held::{Held, is_abandoned, is_held, is_lost};
use crate::machine::{Action, State};
use crate::models::Models;

/// So many leases that run out at the same step are the run's own fault.
const MAX_LOST_LEASES: u8 = 3;

/// How far a worker has come with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has ended.
    Finished,
    /// There is no time left here; whoever gets its next message goes on.
    Yielded,
    /// There was nothing to do: it had ended, waits for somebody, or is in another worker's hands.
    Idle,
}

/// Carries runs out. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    store: Store,
    clock: Clock,
    toolbox: Toolbox,
    models: Models,
    lease: TimeDelta,
}

impl Runner {
    /// `lease`: how long a worker owns a run without a sign of life.
    pub fn new(
        store: Store,
        clock: Clock,
        toolbox: Toolbox,
        models: Models,
        lease: TimeDelta,
    ) -> Self {
        Self {
            store,
            clock,
            toolbox,
            models,
            lease,
        }
    }

    /// Takes a run as far as it goes before `deadline`. Calling it again, or twice at once, does no harm.
    ///
    /// Leases from before `abandoned_before` belong to workers that are known to be gone.
    ///
    /// # Errors
    /// `Unavailable` when the store is; the run is then found again by the sweep, as after a crash.
    pub async fn advance(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        abandoned_before: Option<DateTime<Utc>>,
        deadline: DateTime<Utc>,
    ) -> Result<Progress> {
        let Some(loaded) = self.store.load_run(workspace, id).await? else {
            tracing::warn!(run.id = %id, "run not found");
            return Ok(Progress::Idle);
        };
        let patience = Patience {
            clock: &self.clock,
            deadline,
        };
        match self.carry_on(loaded, abandoned_before, patience).await {
            Err(error) if is_lost(&error) => {
                tracing::info!(run.id = %id, "run went to another worker");
                Ok(Progress::Idle)
            }
            result => result,
        }
    }

    async fn carry_on(
        &self,
        loaded: LoadedRun,
        abandoned_before: Option<DateTime<Utc>>,
        patience: Patience<'_>,
    ) -> Result<Progress> {
        let LoadedRun { run, steps, .. } = loaded;
        let runnable = matches!(run.status, RunStatus::Queued | RunStatus::Running);
        if !runnable || is_held(&run, self.clock.now(), abandoned_before) {
            return Ok(Progress::Idle);
        }
        let lost = match &run.lease {
            Some(lease) if !is_abandoned(lease, abandoned_before) => run.lost_leases + 1,
            _ => run.lost_leases,
        };
        if lost >= MAX_LOST_LEASES {
            return self.fail(run, "worker crashed").await;
        }
        if !patience.is_left() {
            return Ok(Progress::Yielded);
        }
        let taken = Held::take(&self.store, &self.clock, self.lease, run.clone(), lost);
        let version = self
            .store
            .agent_version(run.workspace_id, run.agent_version_id);
        let (held, version) = try_join(taken, version).await?;
        match prepare(version, &held.run, &steps)? {
            Ok(state) => self.carry_out(state, held, patience).await,
            Err(why) => self.fail(held.run, &why).await,
        }
    }

    async fn carry_out(
        &self,
        mut state: State,
        mut held: Held<'_>,
        patience: Patience<'_>,
    ) -> Result<Progress> {
        let specs = self.toolbox.specs(&state.definition().tools);
        loop {
            match state.next() {
                Action::Write => held.write(&mut state).await?,
                // Before the intent, not between it and its call: whoever finds an intent must take the call for made.
                Action::CallModel
                | Action::RecordIntent(_)
                | Action::CallTool { repeat: true, .. }
                    if !patience.is_left() =>
                {
                    held.release(&mut state).await?;
                    return Ok(Progress::Yielded);
                }
                Action::CallModel
                    if !state.definition().model_is_in_process()
                        && !patience.is_left_for(self.models.timeout) =>
                {
                    held.release(&mut state).await?;
                    return Ok(Progress::Yielded);
                }
                Action::RecordIntent(call) => {
                    match calls::check(&self.toolbox, state.definition(), &call) {
                        Ok(idempotent) => state.intend(idempotent),
                        Err(why) => state.refuse(why),
                    }
                }
                Action::CallModel => {
                    let request = state.request(specs.clone());
                    let organization = held.run.organization_id;
                    let choice = &state.definition().model;
                    let answer = calls::ask(&self.models, organization, choice, &request, patience);
                    match held.keep_while(answer).await?? {
                        Ok(answer) => state.answered(answer),
                        Err(why) => state.fail(why),
                    }
                }
                Action::CallTool { call, repeat } => {
                    let run = held.run.id;
                    tracing::debug!(run.id = %run, tool = call.tool, repeat, "tool call");
                    let outcome =
                        calls::call(&self.toolbox, state.definition(), run, &call, patience);
                    let outcome = held.keep_while(outcome).await?;
                    if let ToolOutcome::Error(_) = outcome {
                        tracing::info!(run.id = %run, tool = call.tool, "tool call failed");
                    }
                    state.returned(outcome);
                }
                Action::Done(outcome) => {
                    let ending = Ending {
                        outcome,
                        events: state.unwritten(),
                        tokens: state.usage(),
                        cost_micros: state.cost_micros(),
                        message: state.definition().result.message_kind(),
                    };
                    finish(&self.store, &self.clock, held.run, ending).await?;
                    return Ok(Progress::Finished);
                }
            }
        }
    }

    async fn fail(&self, run: Run, why: &str) -> Result<Progress> {
        let ending = Ending::failed(&run, why);
        finish(&self.store, &self.clock, run, ending).await?;
        Ok(Progress::Finished)
    }
}

/// A run as far as its journal goes. The inner error ends the run; the outer one is a defect of ours.
fn prepare(
    version: Option<AgentVersion>,
    run: &Run,
    steps: &[Step],
) -> Result<Result<State, String>> {
    let Some(version) = version else {
        return Ok(Err("the agent's definition is gone".to_owned()));
    };
    let input = run.input.as_ref().unwrap_or(&Value::Null);
    let definition = match Definition::of(&version, input) {
        Ok(definition) => definition,
        Err(why) => return Ok(Err(why)),
    };
    let state = State::replay(definition, steps).map_err(domain::Error::internal)?;
    Ok(Ok(state))
}
