//! Doing what the loop of an agent says: asking models and calling tools.

use domain::Result;
use domain::run::{Lineage, ToolCall, ToolOutcome};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use llm::ToolSpec;
use tools::{CallingRun, Delegation, ToolPermissions, ToolSet};

use crate::agent_loop::{Action, PendingCall, State};
use crate::calls::{self, Deadlines};
use crate::finish::Ending;
use crate::lease::LeasedRun;
use crate::machine::Machine;
use crate::models::Models;
use crate::performer::Performer;
use crate::places::Places;
use crate::progress::Progress;
use crate::provider_keys::Tenant;
use crate::stream_buffer::StreamBuffer;
use crate::stream_sink::JournalSink;
use crate::structured;

/// The models and tools of an agent's run.
pub(crate) struct AgentRunner<'a> {
    models: &'a Models,
    places: &'a Places,
    tools: ToolSet,
    specs: Vec<ToolSpec>,
    permissions: ToolPermissions,
    run: CallingRun,
}

impl<'a> AgentRunner<'a> {
    pub(crate) fn new(
        models: &'a Models,
        places: &'a Places,
        tools: ToolSet,
        run: CallingRun,
        state: &State,
    ) -> Self {
        Self {
            models,
            places,
            specs: tools.specs(),
            permissions: calls::permissions(state.definition()),
            tools,
            run,
        }
    }

    async fn ask_model(
        &self,
        state: &mut State,
        held: &mut LeasedRun<'_>,
        deadlines: Deadlines<'_>,
    ) -> Result<()> {
        let request = state.request(self.specs.clone());
        let tenant = Tenant {
            organization_id: held.run.organization_id,
            workspace_id: held.run.workspace_id,
        };
        let choice = &state.definition().model;
        let buffer = StreamBuffer::after(held.attempts());
        let answer = calls::ask(self.models, tenant, choice, &request, &buffer, deadlines);
        let answer = held.with_heartbeat_streaming(&buffer, JournalSink, answer);
        match answer.await?? {
            Ok(answer) => state.answered(answer),
            Err(_) if deadlines.run_is_over() => {
                let why = state.limits().time_is_up();
                state.fail(why);
            }
            Err(why) => state.fail(why),
        }
        Ok(())
    }

    fn record_intents(&self, calls: Vec<ToolCall>, state: &mut State, held: &LeasedRun<'_>) {
        for call in calls {
            let before = state.calls_before(&call);
            let most = Lineage::max_children(held.run.lineage.as_ref());
            match calls::check(&self.tools, state.definition(), &call, before, most) {
                Ok(idempotent) => state.intend(&call.id, idempotent),
                Err(why) => state.refuse(&call.id, why),
            }
        }
    }
}

impl Performer<State> for AgentRunner<'_> {
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

    async fn perform(
        &mut self,
        action: Action,
        state: &mut State,
        held: &mut LeasedRun<'_>,
        deadlines: Deadlines<'_>,
    ) -> Result<Option<Progress>> {
        match action {
            Action::Write => held.write(state).await?,
            Action::RecordIntents(calls) => self.record_intents(calls, state, held),
            Action::CallModel => self.ask_model(state, held, deadlines).await?,
            Action::CallTools(calls) => {
                let caller = ToolCaller {
                    tools: &self.tools,
                    permissions: &self.permissions,
                    run: &self.run,
                };
                let waits = calls
                    .iter()
                    .any(|pending| caller.waits_for_a_run(&pending.call));
                call_tools(calls, caller, state, held, deadlines).await?;
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
                held.end(&ending, self.places).await?;
                return Ok(Some(Progress::Finished));
            }
        }
        Ok(None)
    }
}

/// The context in which a run calls tools.
#[derive(Clone, Copy)]
struct ToolCaller<'a> {
    tools: &'a ToolSet,
    permissions: &'a ToolPermissions,
    run: &'a CallingRun,
}

impl ToolCaller<'_> {
    /// Returns `true` if a call may lend its run's place to another run.
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
                let mut why = state.limits().time_is_up();
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
