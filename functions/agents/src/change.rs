//! Changing an agent, whichever dialect asks for it.

use auth::Principal;
use chrono::{DateTime, Utc};
use domain::agent::{Agent, AgentState, AgentVersion, Prompt, validate_prompts, validate_schedule};
use domain::audit::{Actor, AuditEntry};
use domain::ids::{AgentId, AgentVersionId};
use domain::text::{Description, Name};
use domain::{Error, Result};
use futures::future::{OptionFuture, try_join};
use serde_json::{Map, Value};
use web::Host;

use crate::creation::{all_fine, current_version};

/// How often a change is tried when others write the agent meanwhile: a worker that counts a failure, for one.
const ATTEMPTS: u32 = 3;

/// What shall be different. `None` leaves things as they are.
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

/// Whether the agent shall run.
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
    host: &Host,
    caller: &Principal,
    id: AgentId,
    change: &AgentChange,
) -> Result<Agent> {
    let mut attempt = 1;
    loop {
        match change.write(host, caller, id).await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

/// What a change makes of an agent.
#[derive(Debug)]
struct Changed {
    agent: Agent,
    /// The new version, when the definition is new.
    version: Option<AgentVersion>,
    action: &'static str,
}

impl AgentChange {
    async fn write(&self, host: &Host, caller: &Principal, id: AgentId) -> Result<Agent> {
        let workspace = caller.workspace_id;
        let chosen = self
            .version_id
            .map(|id| host.store.agent_version(workspace, id));
        let chosen = async { OptionFuture::from(chosen).await.transpose() };
        let (agent, chosen) = try_join(host.store.agent(workspace, id), chosen).await?;
        let agent = agent.ok_or(Error::NotFound("agent"))?;

        let now = host.services.clock.now();
        let Some(changed) = self.apply(&agent, chosen.flatten(), caller.caller.actor, now)? else {
            return Ok(agent);
        };
        let audit = AuditEntry::new(&caller.caller, changed.action, "agent", id, now);
        host.store
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
            Some(ParameterChange::Replace(new)) => agent
                .agent_type
                .validate_parameters("parameters", new.clone()),
            Some(ParameterChange::Merge(new)) => {
                let mut merged = agent.parameters.clone();
                merged.extend(new.clone());
                agent.agent_type.validate_parameters("config", merged)
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

/// What a version keeps.
fn definition(agent: &Agent) -> (&Name, &Map<String, Value>, &[Prompt]) {
    (&agent.name, &agent.parameters, &agent.prompts)
}

/// What an agent's next firing depends on. While this stays, a firing that is due now stays due.
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
mod tests {
    use domain::agent::AgentType;
    use serde_json::json;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn weather() -> Agent {
        let created_at = time("2026-11-22T10:00:00Z");
        serde_json::from_value(json!({
            "id": AgentId::new(created_at),
            "organization_id": AgentId::new(created_at),
            "workspace_id": AgentId::new(created_at),
            "name": "Weather",
            "agent_type": AgentType::WeatherCheck,
            "parameters": {"location": "Bern", "units": "imperial"},
            "prompts": [],
            "schedule": "0 7 * * *",
            "timezone": "UTC",
            "state": "active",
            "consecutive_failures": 0,
            "version_id": AgentVersionId::new(created_at),
            "version": 1,
            "latest_version": 3,
            "next_run_at": "2026-11-23T07:00:00Z",
            "created_at": created_at,
            "updated_at": created_at,
            "revision": 7,
        }))
        .unwrap()
    }

    fn apply(
        change: AgentChange,
        agent: &Agent,
        chosen: Option<AgentVersion>,
    ) -> Result<Option<Changed>> {
        change.apply(agent, chosen, Actor::System, time("2026-11-24T10:00:00Z"))
    }

    fn merge(parameters: Value) -> Option<ParameterChange> {
        Some(ParameterChange::Merge(
            parameters.as_object().unwrap().clone(),
        ))
    }

    #[test]
    fn a_new_definition_is_the_next_version_and_leaves_a_due_firing_due() {
        let agent = weather();
        let parameters = merge(json!({"units": null}));
        let changed = apply(
            AgentChange {
                parameters,
                ..AgentChange::default()
            },
            &agent,
            None,
        );
        let changed = changed.unwrap().unwrap();
        let complete = json!({"location": "Bern", "units": "metric"});
        assert_eq!(Value::from(changed.agent.parameters), complete);
        assert_eq!(
            (changed.agent.version, changed.agent.latest_version),
            (4, 4)
        );
        assert_eq!(changed.agent.next_run_at, agent.next_run_at);
        let version = changed.version.unwrap();
        assert_eq!((version.id, version.number), (changed.agent.version_id, 4));
    }

    #[test]
    fn what_changes_nothing_is_not_written() {
        let agent = weather();
        for change in [
            AgentChange::default(),
            AgentChange {
                decision: Some(Decision::Resume),
                ..AgentChange::default()
            },
            AgentChange {
                name: Some(agent.name.clone()),
                version_id: Some(agent.version_id),
                ..AgentChange::default()
            },
            AgentChange {
                schedule: Some(agent.schedule.clone()),
                ..AgentChange::default()
            },
        ] {
            let chosen = current_version(&agent, Actor::System, agent.created_at);
            assert!(apply(change, &agent, Some(chosen)).unwrap().is_none());
        }
    }

    #[test]
    fn a_version_brings_its_definition_back_but_only_to_its_own_agent() {
        let agent = weather();
        let mut old = current_version(&agent, Actor::System, agent.created_at);
        old.id = AgentVersionId::new(time("2026-11-01T00:00:00Z"));
        old.number = 2;
        old.parameters.insert("location".to_owned(), json!("Oslo"));
        let go_back = || AgentChange {
            version_id: Some(old.id),
            ..AgentChange::default()
        };

        let changed = apply(go_back(), &agent, Some(old.clone()))
            .unwrap()
            .unwrap();
        assert!(changed.version.is_none());
        assert_eq!(changed.agent.version, 2);
        assert_eq!(changed.agent.parameters["location"], "Oslo");

        let both = AgentChange {
            parameters: merge(json!({"location": "Rome"})),
            ..go_back()
        };
        assert!(apply(both, &agent, Some(old.clone())).is_err());
        let foreign = AgentVersion {
            agent_id: AgentId::new(agent.created_at),
            ..old
        };
        assert!(apply(go_back(), &agent, Some(foreign)).is_err());
        assert!(apply(go_back(), &agent, None).is_err());
    }

    #[test]
    fn resuming_forgives_and_looks_ahead_and_pausing_keeps_what_is_disabled() {
        let disabled = Agent {
            state: AgentState::Disabled,
            consecutive_failures: 5,
            next_run_at: None,
            ..weather()
        };
        let decide = |decision| AgentChange {
            decision: Some(decision),
            ..AgentChange::default()
        };
        assert!(
            apply(decide(Decision::Pause), &disabled, None)
                .unwrap()
                .is_none()
        );

        let resumed = apply(decide(Decision::Resume), &disabled, None)
            .unwrap()
            .unwrap();
        assert_eq!(
            (resumed.agent.state, resumed.agent.consecutive_failures),
            (AgentState::Active, 0)
        );
        assert_eq!(
            resumed.agent.next_run_at,
            Some(time("2026-11-25T07:00:00Z"))
        );
        assert_eq!(resumed.action, "agent.resumed");

        let paused = apply(decide(Decision::Pause), &weather(), None)
            .unwrap()
            .unwrap();
        assert_eq!(
            (paused.agent.next_run_at, paused.action),
            (None, "agent.paused")
        );
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let change = AgentChange {
            parameters: merge(json!({"units": "kelvin"})),
            schedule: Some(Some("daily".to_owned())),
            ..AgentChange::default()
        };
        match apply(change, &weather(), None) {
            Err(Error::Invalid(errors)) => {
                let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
                assert_eq!(fields, ["config.units", "schedule"]);
            }
            other => panic!("{other:?}"),
        }
    }
}
