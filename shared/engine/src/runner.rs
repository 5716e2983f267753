//! Carrying a run out: the machine says what to do, the runner does it.

mod taking;

use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::agent::AgentVersion;
use domain::message::Advance;
use domain::run::{Lineage, Run, RunStatus, ToolCall, ToolOutcome};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use runtime::Clock;
use serde_json::Value;
use store::{LoadedRun, Store};
use tools::{CallingRun, Delegation, ToolCatalog, ToolPermissions, ToolScope, ToolSet};

use crate::agents;
use crate::calls::{self, Deadlines};
use crate::finish::{Ending, finish_now};
use crate::lease::{Blame, LeasedRun, goes_alone};
use crate::machine::{Action, PendingCall, State};
use crate::models::Models;
use crate::places::Places;
use crate::provider_keys::Tenant;
use crate::run_head::{is_held, is_lost};
use crate::stream_buffer::StreamBuffer;
use crate::structured;

/// How far a worker has come with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has ended.
    Finished,
    /// There is no time left here; the worker that gets its next message goes on, in the same `place`.
    Yielded { place: Option<u16> },
    /// Its organization has no place for it now. It gets a message once there is one.
    Waiting,
    /// A pause was wanted, and it is paused now.
    Paused,
    /// There was nothing to do: it had ended, waits for a person, or is held by another worker.
    Idle,
    /// It may have ended a worker: it is to go on alone, and nothing was done here.
    Suspected,
}

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
    pub async fn advance(&self, message: &Advance, deadline: DateTime<Utc>) -> Result<Progress> {
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
                self.carry_out(state, held, deadlines).await
            }
            Err(why) => {
                let ending = Ending::failed(&held.run, &why);
                held.end(&ending, &self.places).await?;
                Ok(Progress::Finished)
            }
        }
    }

    async fn carry_out(
        &self,
        mut state: State,
        held: &mut LeasedRun<'_>,
        deadlines: Deadlines<'_>,
    ) -> Result<Progress> {
        let run = CallingRun::of(&held.run);
        let scope = ToolScope {
            organization_id: run.organization_id,
            workspace_id: run.workspace_id,
            run: Some(&run),
        };
        let tools = self.tools.resolve(scope, &state.definition().tools).await?;
        let specs = tools.specs();
        let caller = ToolCaller {
            tools: &tools,
            permissions: &calls::permissions(state.definition()),
            run: &run,
        };
        loop {
            let action = state.next();
            match action {
                Action::CallModel | Action::RecordIntents(_) | Action::CallTools(_)
                    if deadlines.run_is_over() =>
                {
                    state.fail(state.definition().limits.time_is_up());
                }
                // Before the intents, not between them and their calls: a worker that finds an intent must assume that the call was
                // made.
                Action::CallModel | Action::RecordIntents(_) if held.run.pause_requested => {
                    if held.pause(&mut state).await? {
                        tracing::info!(run.id = %held.run.id, "run paused");
                        return Ok(Progress::Paused);
                    }
                }
                Action::CallModel | Action::RecordIntents(_) | Action::CallTools(_)
                    if !self.has_time(&action, &state, deadlines) =>
                {
                    held.release(&mut state).await?;
                    let place = held.place();
                    return Ok(Progress::Yielded { place });
                }
                // Before the intents too.
                Action::CallModel | Action::RecordIntents(_)
                    if !held.has_place(&self.places).await? =>
                {
                    held.release(&mut state).await?;
                    return self.wait_for_place(&held.run).await;
                }
                Action::Write => held.write(&mut state).await?,
                Action::RecordIntents(calls) => {
                    for call in calls {
                        let before = state.calls_before(&call);
                        let most = Lineage::max_children(held.run.lineage.as_ref());
                        match calls::check(&tools, state.definition(), &call, before, most) {
                            Ok(idempotent) => state.intend(&call.id, idempotent),
                            Err(why) => state.refuse(&call.id, why),
                        }
                    }
                }
                Action::CallModel => {
                    let request = state.request(specs.clone());
                    let tenant = Tenant {
                        organization_id: held.run.organization_id,
                        workspace_id: held.run.workspace_id,
                    };
                    let choice = &state.definition().model;
                    let buffer = StreamBuffer::after(held.attempts());
                    let models = &self.models;
                    let answer = calls::ask(models, tenant, choice, &request, &buffer, deadlines);
                    match held.with_heartbeat_streaming(&buffer, answer).await?? {
                        Ok(answer) => state.answered(answer),
                        Err(_) if deadlines.run_is_over() => {
                            state.fail(state.definition().limits.time_is_up());
                        }
                        Err(why) => state.fail(why),
                    }
                }
                Action::CallTools(calls) => {
                    let waits = calls
                        .iter()
                        .any(|pending| caller.waits_for_a_run(&pending.call));
                    call_tools(calls, caller, &mut state, held, deadlines).await?;
                    if waits {
                        held.look_after_place().await;
                    }
                }
                Action::CheckAnswer => {
                    if let Some((schema, text)) = state.to_check() {
                        let checked = held.with_heartbeat(structured::check(schema, text)).await?;
                        state.checked(checked);
                    }
                }
                Action::Done(outcome) => {
                    let ending = Ending {
                        shown: state.definition().result.shown(&outcome),
                        outcome,
                        events: state.unwritten(),
                        tokens: state.usage(),
                        cost_micros: state.cost_micros(),
                    };
                    held.end(&ending, &self.places).await?;
                    return Ok(Progress::Finished);
                }
            }
        }
    }

    /// Whether this worker has the time for what comes next.
    fn has_time(&self, action: &Action, state: &State, deadlines: Deadlines<'_>) -> bool {
        match action {
            Action::CallModel if !state.definition().model_is_in_process() => {
                deadlines.is_left_for(self.models.timeout)
            }
            // Their intents were stored a moment ago, when there was time.
            Action::CallTools(calls) if calls.iter().all(|pending| !pending.repeat) => true,
            _ => deadlines.is_left(),
        }
    }
}

/// What a run calls tools with.
#[derive(Clone, Copy)]
struct ToolCaller<'a> {
    tools: &'a ToolSet,
    permissions: &'a ToolPermissions,
    run: &'a CallingRun,
}

impl ToolCaller<'_> {
    /// Whether a call may lend its run's place to another run.
    fn waits_for_a_run(&self, call: &ToolCall) -> bool {
        let tool = self.tools.get(&call.tool);
        tool.is_some_and(|tool| tool.delegation(&call.arguments) == Delegation::Waits)
    }
}

/// Makes calls side by side.
async fn call_tools(
    calls: Vec<PendingCall>,
    caller: ToolCaller<'_>,
    state: &mut State,
    held: &mut LeasedRun<'_>,
    deadlines: Deadlines<'_>,
) -> Result<()> {
    let run = caller.run;
    let call = async |PendingCall { call, repeat }: PendingCall| {
        tracing::debug!(run.id = %run.id, tool = call.tool, repeat, "tool call");
        let outcome = calls::call(caller.tools, caller.permissions, run, &call, deadlines).await;
        if let ToolOutcome::Error(_) = outcome {
            tracing::info!(run.id = %run.id, tool = call.tool, "tool call failed");
        }
        (call.id, outcome)
    };
    let mut under_way: Vec<_> = calls
        .iter()
        .map(|pending| pending.call.id.clone())
        .collect();
    let mut running: FuturesUnordered<_> = calls.into_iter().map(call).collect();
    while !running.is_empty() {
        let next = tokio::time::timeout(deadlines.rest_of_run(), running.next());
        match held.with_heartbeat(next).await? {
            Ok(Some((id, outcome))) => {
                under_way.retain(|call| *call != id);
                state.returned(&id, outcome);
                // Not once: a write that learns that the run shall pause has to be made again.
                while state.must_write() && !running.is_empty() {
                    held.write(state).await?;
                }
            }
            Ok(None) => break,
            Err(_) => {
                let mut why = state.definition().limits.time_is_up();
                let in_doubt: Vec<_> = state.in_doubt().map(|call| call.tool.clone()).collect();
                if !in_doubt.is_empty() {
                    let tools = in_doubt.join(", ");
                    why.push_str(&format!(
                        " during a call of {tools}, which may or may not have taken effect"
                    ));
                }
                for id in under_way {
                    state.returned(&id, ToolOutcome::Error(why.clone()));
                }
                state.fail(why);
                break;
            }
        }
    }
    Ok(())
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
