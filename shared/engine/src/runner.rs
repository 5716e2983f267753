//! Carrying a run out: the machine says what to do, the runner does it.

mod taking;

use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::agent::AgentVersion;
use domain::message::Advance;
use domain::run::{Run, RunStatus};
use futures::future::BoxFuture;
use runtime::Clock;
use serde_json::Value;
use store::{LoadedRun, Store};
use tools::{CallingRun, ToolCatalog, ToolScope};

use crate::agent_loop::State;
use crate::agent_runner::AgentRunner;
use crate::agents;
use crate::calls::Deadlines;
use crate::finish::{Ending, finish_now};
use crate::lease::{Blame, LeasedRun, goes_alone};
use crate::machine::{Effect, Machine};
use crate::models::Models;
use crate::performer::Performer;
use crate::places::Places;
use crate::progress::Progress;
use crate::run_head::{is_held, is_lost};

/// Carries runs out. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    store: Store,
    clock: Clock,
    tools: ToolCatalog,
    models: Models,
    places: Places,
    lease: TimeDelta,
}

impl Runner {
    /// `lease`: how long a worker owns a run without a sign of life.
    pub fn new(
        store: Store,
        clock: Clock,
        tools: ToolCatalog,
        models: Models,
        places: Places,
        lease: TimeDelta,
    ) -> Self {
        Self {
            store,
            clock,
            tools,
            models,
            places,
            lease,
        }
    }

    /// Takes the run of a message as far as it goes before `deadline`. Calling it again, or twice at once, does no harm.
    ///
    /// # Errors
    /// `Unavailable` when something that the run needs is: the same call may succeed later. The run is given back then as far as
    /// that goes, else it is found again by the sweep, as after a crash.
    pub fn advance<'a>(
        &'a self,
        message: &'a Advance,
        deadline: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Progress>> {
        // Boxed here, so that no other crate compiles all of it once more.
        Box::pin(self.try_to_advance(message, deadline))
    }

    async fn try_to_advance(&self, message: &Advance, deadline: DateTime<Utc>) -> Result<Progress> {
        let id = message.run_id;
        // The head alone: most messages come for runs that have nothing to be done about.
        let Some(run) = self.store.run_head(message.workspace_id, id).await? else {
            tracing::warn!(run.id = %id, "run not found");
            self.decline_place(message).await;
            return Ok(Progress::Idle);
        };
        let runnable = matches!(run.status, RunStatus::Queued | RunStatus::Running);
        if !runnable || is_held(&run, self.clock.now(), message.abandoned_before) {
            self.decline_place(message).await;
            return Ok(Progress::Idle);
        }
        if !message.alone && goes_alone(&run, message.abandoned_before) {
            return Ok(Progress::Suspected);
        }
        match self.take_on(run, message, deadline).await {
            Err(error) if is_lost(&error) => {
                tracing::info!(run.id = %id, "run went to another worker");
                self.decline_place(message).await;
                Ok(Progress::Idle)
            }
            result => result,
        }
    }

    /// Gives a place on that was kept for the run of a message which comes to nothing.
    async fn decline_place(&self, message: &Advance) {
        if let Some(number) = message.place {
            let organization = message.organization_id;
            self.places
                .decline(organization, message.run_id, number)
                .await;
        }
    }

    async fn take_on(
        &self,
        run: Run,
        message: &Advance,
        deadline: DateTime<Utc>,
    ) -> Result<Progress> {
        let blame = Blame::of(&run, message.abandoned_before, message.alone);
        if blame.is_enough() {
            let ending = Ending::failed(&run, "worker crashed");
            finish_now(&self.store, &self.clock, run, &ending).await?;
            self.decline_place(message).await;
            return Ok(Progress::Finished);
        }
        let deadlines = Deadlines {
            clock: &self.clock,
            deadline,
            run_ends: None,
        };
        if !deadlines.is_left() {
            let place = message.place;
            return Ok(Progress::Yielded { place });
        }
        let Some((held, follows)) = self.take(&run, message, blame).await? else {
            return Ok(Progress::Waiting);
        };
        Box::pin(self.carry_on(held, follows, deadlines)).await
    }

    async fn begin(
        &self,
        held: &mut LeasedRun<'_>,
        version: Option<AgentVersion>,
        journal: LoadedRun,
        mut deadlines: Deadlines<'_>,
    ) -> Result<Progress> {
        held.has_shown(&journal.chunks);
        match prepare(version, &journal)? {
            Ok(state) => {
                let limit = state.definition().limits.time;
                deadlines.run_ends = Some(held.since + limit.saturating_sub(held.worked_before));
                let run = CallingRun::of(&held.run);
                let scope = ToolScope {
                    organization_id: run.organization_id,
                    workspace_id: run.workspace_id,
                    run: Some(&run),
                };
                let tools = self.tools.resolve(scope, &state.definition().tools).await?;
                let agent = AgentRunner::new(&self.models, &self.places, tools, run, &state);
                self.carry_out(state, agent, held, deadlines).await
            }
            Err(why) => {
                let ending = Ending::failed(&held.run, &why);
                held.end(&ending, &self.places).await?;
                Ok(Progress::Finished)
            }
        }
    }

    /// Takes a machine as far as it goes.
    async fn carry_out<M: Machine>(
        &self,
        mut machine: M,
        mut performer: impl Performer<M>,
        held: &mut LeasedRun<'_>,
        deadlines: Deadlines<'_>,
    ) -> Result<Progress> {
        loop {
            let action = machine.next();
            let effect = M::effect(&action);
            let (begins, has_effect) = (effect == Effect::Begins, effect != Effect::None);
            if has_effect && deadlines.run_is_over() {
                let why = machine.limits().time_is_up();
                machine.fail(why);
            } else if begins && held.run.pause_requested {
                if held.pause(&mut machine).await? {
                    tracing::info!(run.id = %held.run.id, "run paused");
                    return Ok(Progress::Paused);
                }
            } else if has_effect && !performer.has_time(&action, &machine, deadlines) {
                held.release(&mut machine).await?;
                let place = held.place();
                return Ok(Progress::Yielded { place });
            } else if begins && !held.has_place(&self.places).await? {
                held.release(&mut machine).await?;
                return self.wait_for_place(&held.run).await;
            } else {
                let done = performer.perform(action, &mut machine, held, deadlines);
                if let Some(progress) = done.await? {
                    return Ok(progress);
                }
            }
        }
    }
}

/// A run as far as its journal goes. The inner error ends the run; the outer one is a defect of ours.
fn prepare(version: Option<AgentVersion>, journal: &LoadedRun) -> Result<Result<State, String>> {
    let Some(version) = version else {
        return Ok(Err("the agent's definition is gone".to_owned()));
    };
    let input = journal.run.input.as_ref().unwrap_or(&Value::Null);
    let definition = match agents::define(&version, input) {
        Ok(definition) => definition,
        Err(why) => return Ok(Err(why)),
    };
    let state = State::replay(definition, &journal.steps).map_err(domain::Error::internal)?;
    Ok(Ok(state))
}
