//! Changing an agent, whichever dialect asks for it.

use auth::Principal;
use chrono::{DateTime, Utc};
use domain::agent::{Agent, AgentState, AgentVersion, Prompt, validate_prompts, validate_schedule};
use domain::audit::{Actor, AuditEntry};
use domain::ids::{AgentId, AgentVersionId};
use domain::text::{Description, Name};
use domain::{Error, Result};
use engine::agents::validate_parameters;
use futures::future::{OptionFuture, try_join};
use serde_json::{Map, Value};
use web::{AppContext, found};

use crate::create::{all_fine, check_output_schema, current_version};

/// The number of times that a change is tried when others write the agent meanwhile: a worker that counts a failure, for one.
const ATTEMPTS: u32 = 3;

/// A change of an agent. `None` leaves things as they are.
#[derive(Debug, Default)]
pub(crate) struct AgentChange {
    pub(crate) name: Option<Name>,
    pub(crate) description: Option<Description>,
    pub(crate) parameters: Option<ParameterChange>,
    pub(crate) prompts: Option<Vec<Prompt>>,
    /// `Some(None)` takes the schedule away.
    pub(crate) schedule: Option<Option<String>>,
    pub(crate) timezone: Option<String>,
    /// The version to go on with.
    pub(crate) version_id: Option<AgentVersionId>,
    pub(crate) decision: Option<Decision>,
}

/// New parameters, under the name that the dialect has for them.
#[derive(Debug)]
pub(crate) enum ParameterChange {
    /// Prodgy's `parameters`, as a whole.
    Replace(Map<String, Value>),
    /// AgentPlatform's `config`: the members that are given, `null` for the default.
    Merge(Map<String, Value>),
}

impl ParameterChange {
    /// The dialect's name for the parameters.
    fn field(&self) -> &'static str {
        match self {
            Self::Replace(_) => "parameters",
            Self::Merge(_) => "config",
        }
    }
}

/// `true` if the agent shall run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    Pause,
    /// Forgives all failures.
    Resume,
}

impl From<Decision> for AgentChange {
    fn from(decision: Decision) -> Self {
        Self {
            decision: Some(decision),
            ..Self::default()
        }
    }
}

/// Changes an agent, on top of what others have made of it by then.
pub(crate) async fn update(
    context: &AppContext,
    caller: &Principal,
    id: AgentId,
    change: &AgentChange,
) -> Result<Agent> {
    let mut attempt = 1;
    loop {
        match change.write(context, caller, id).await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

/// The outcome of a change of an agent.
#[derive(Debug)]
struct Changed {
    agent: Agent,
    /// The new version, when the definition is new.
    version: Option<AgentVersion>,
    action: &'static str,
}

impl AgentChange {
    async fn write(&self, context: &AppContext, caller: &Principal, id: AgentId) -> Result<Agent> {
        let workspace = caller.workspace_id;
        let chosen = self
            .version_id
            .map(|id| context.store.agent_version(workspace, id));
        let chosen = async { OptionFuture::from(chosen).await.transpose() };
        let agent = found(context.store.agent(workspace, id));
        let (agent, chosen) = try_join(agent, chosen).await?;

        let now = context.services.clock.now();
        let Some(changed) =
            self.apply(&agent, chosen.flatten(), caller.audit_context.actor, now)?
        else {
            return Ok(agent);
        };
        if let Some(parameters) = &self.parameters {
            check_output_schema(parameters.field(), &changed.agent.parameters).await?;
        }
        let audit = AuditEntry::new(&caller.audit_context, changed.action, "agent", id, now);
        context
            .store
            .update_agent(&changed.agent, changed.version.as_ref(), &audit)
            .await?;
        Ok(changed.agent)
    }

    /// The agent after the change; `None` when that is what it was before. `chosen` is the version that `version_id` names.
    fn apply(
        &self,
        before: &Agent,
        chosen: Option<AgentVersion>,
        actor: Actor,
        now: DateTime<Utc>,
    ) -> Result<Option<Changed>> {
        let mut agent = before.clone();
        self.set_texts(&mut agent, now)?;
        self.decide(&mut agent);
        let version = self.set_version(before, &mut agent, chosen, now)?;
        if when(&agent) != when(before) {
            agent.next_run_at = agent.next_firing(now);
        }
        if agent == *before {
            return Ok(None);
        }
        agent.updated_at = now;
        Ok(Some(Changed {
            version: version.then(|| current_version(&agent, actor, now)),
            action: action(before.state, agent.state),
            agent,
        }))
    }

    /// Puts in what the client wrote, after checking all of it.
    fn set_texts(&self, agent: &mut Agent, now: DateTime<Utc>) -> Result<()> {
        if let Some(name) = &self.name {
            agent.name = name.clone();
        }
        if let Some(description) = &self.description {
            agent.description = description.clone();
        }
        if let Some(timezone) = &self.timezone {
            agent.timezone = timezone.clone();
        }
        if let Some(schedule) = &self.schedule {
            agent.schedule = schedule.clone();
        }
        if let Some(prompts) = &self.prompts {
            agent.prompts = prompts.clone();
        }
        let parameters = match &self.parameters {
            Some(change) => {
                let given = match change {
                    ParameterChange::Replace(new) => new.clone(),
                    ParameterChange::Merge(new) => {
                        let mut merged = agent.parameters.clone();
                        merged.extend(new.clone());
                        merged
                    }
                };
                validate_parameters(agent.agent_type, change.field(), given)
            }
            None => Ok(agent.parameters.clone()),
        };
        // What was accepted once is not held against a change of something else.
        let schedule = if self.schedule.is_some() || self.timezone.is_some() {
            validate_schedule(agent.schedule.as_deref(), &agent.timezone, now)
        } else {
            Ok(())
        };
        all_fine([
            parameters.map(|parameters| agent.parameters = parameters),
            validate_prompts(&agent.prompts),
            schedule,
        ])
    }

    fn decide(&self, agent: &mut Agent) {
        match self.decision {
            // A disabled agent does not run either, and should go on telling why.
            Some(Decision::Pause) if agent.state == AgentState::Active => {
                agent.state = AgentState::Paused;
            }
            Some(Decision::Resume) => {
                agent.state = AgentState::Active;
                agent.consecutive_failures = 0;
            }
            _ => {}
        }
    }

    /// Has `agent` name the version of its definition; whether that is a new one, still to be written.
    fn set_version(
        &self,
        before: &Agent,
        agent: &mut Agent,
        chosen: Option<AgentVersion>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let chosen = chosen.filter(|version| version.agent_id == before.id);
        if self.version_id.is_some() && chosen.is_none() {
            let message = "is not a version of this agent";
            return Err(Error::invalid("version_id", message));
        }
        let is_redefined = definition(agent) != definition(before);
        match chosen.filter(|version| version.id != before.version_id) {
            Some(_) if is_redefined => Err(Error::invalid(
                "version_id",
                "brings its own name, parameters and prompts, so these cannot be changed with it",
            )),
            Some(version) => {
                agent.version_id = version.id;
                agent.version = version.number;
                agent.name = version.name;
                agent.parameters = version.parameters;
                agent.prompts = version.prompts;
                Ok(false)
            }
            None if is_redefined => {
                agent.latest_version += 1;
                agent.version = agent.latest_version;
                agent.version_id = AgentVersionId::new(now);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// The part of an agent that a version keeps.
fn definition(agent: &Agent) -> (&Name, &Map<String, Value>, &[Prompt]) {
    (&agent.name, &agent.parameters, &agent.prompts)
}

/// The inputs of an agent's next firing. While they stay, a firing that is due now stays due.
fn when(agent: &Agent) -> (Option<&str>, &str, AgentState) {
    (agent.schedule.as_deref(), &agent.timezone, agent.state)
}

fn action(before: AgentState, after: AgentState) -> &'static str {
    match after {
        AgentState::Paused if before != after => "agent.paused",
        AgentState::Active if before != after => "agent.resumed",
        _ => "agent.updated",
    }
}

#[cfg(test)]
mod tests;
