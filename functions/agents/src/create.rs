//! Making an agent, whichever dialect asks for it.

use chrono::{DateTime, Utc};
use domain::agent::{
    Agent, AgentState, AgentType, AgentVersion, Prompt, validate_prompts, validate_schedule,
};
use domain::audit::{Actor, AuditEntry, Caller};
use domain::error::all_valid;
use domain::ids::{AgentId, AgentVersionId};
use domain::text::{Description, Name};
use domain::{Error, Result};
use engine::agents::validate_parameters;
use serde_json::{Map, Value};
use web::{AppContext, NewId};

/// An agent as a client wants it.
#[derive(Debug)]
pub(crate) struct NewAgent {
    pub(crate) agent_type: AgentType,
    pub(crate) name: Name,
    pub(crate) description: Description,
    pub(crate) parameters: Map<String, Value>,
    /// The client's name for the parameters, for the errors in them.
    pub(crate) parameters_field: &'static str,
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) schedule: Option<String>,
    /// UTC when the client does not say.
    pub(crate) timezone: Option<String>,
}

impl NewAgent {
    /// Checks everything before it complains.
    fn build(self, id: AgentId, caller: &Caller, now: DateTime<Utc>) -> Result<Agent> {
        let timezone = self.timezone.unwrap_or_else(|| "UTC".to_owned());
        let mut parameters = Map::new();
        let complete = validate_parameters(self.agent_type, self.parameters_field, self.parameters);
        all_fine([
            complete.map(|complete| parameters = complete),
            validate_prompts(&self.prompts),
            validate_schedule(self.schedule.as_deref(), &timezone, now),
        ])?;
        let agent = Agent {
            id,
            organization_id: caller.organization_id,
            workspace_id: caller.workspace_id,
            name: self.name,
            description: self.description,
            agent_type: self.agent_type,
            parameters,
            prompts: self.prompts,
            schedule: self.schedule,
            timezone,
            state: AgentState::Active,
            consecutive_failures: 0,
            version_id: AgentVersionId::new(now),
            version: 1,
            latest_version: 1,
            next_run_at: None,
            created_at: now,
            updated_at: now,
            revision: 0,
        };
        let next_run_at = agent.next_firing(now);
        Ok(Agent {
            next_run_at,
            ..agent
        })
    }
}

/// Creates an agent with its first version in the caller's workspace.
pub(crate) async fn create(
    context: &AppContext,
    caller: &Caller,
    fresh: NewId,
    new: NewAgent,
) -> Result<Agent> {
    let now = context.services.clock.now();
    let field = new.parameters_field;
    let agent = new.build(fresh.id(now), caller, now)?;
    check_output_schema(field, &agent.parameters).await?;
    let version = current_version(&agent, caller.actor, now);
    let audit = AuditEntry::new(caller, "agent.created", "agent", agent.id, now);
    match context.store.create_agent(&agent, &version, &audit).await {
        // The same request, sent again after it got no answer.
        Err(conflict @ Error::Conflict(_)) => {
            let existing = context.store.agent(agent.workspace_id, agent.id).await?;
            existing.ok_or(conflict)
        }
        outcome => outcome.map(|()| agent),
    }
}

/// Checks that the output schema among valid parameters, if there is one, can be compiled. `field` is what the client calls them.
pub(crate) async fn check_output_schema(
    field: &str,
    parameters: &Map<String, Value>,
) -> Result<()> {
    let Some(schema) = parameters.get("output_schema") else {
        return Ok(());
    };
    let accepted = engine::accept_output_schema(schema).await;
    accepted.map_err(|why| Error::invalid(format!("{field}.output_schema"), why))
}

/// The type that the text in `field` names.
///
/// # Errors
/// `Invalid` when there is none.
pub(crate) fn installable(field: &str, reference: &str) -> Result<AgentType> {
    AgentType::find(reference).ok_or_else(|| {
        let known: Vec<_> = AgentType::ALL.iter().map(|kind| kind.slug()).collect();
        let known = known.join(", ");
        let message = format!("is not a known agent type; there are {known}");
        Error::invalid(field, message)
    })
}

/// The agent as it is now, as the version that its row already names.
pub(crate) fn current_version(
    agent: &Agent,
    created_by: Actor,
    now: DateTime<Utc>,
) -> AgentVersion {
    AgentVersion {
        id: agent.version_id,
        agent_id: agent.id,
        workspace_id: agent.workspace_id,
        number: agent.version,
        agent_type: agent.agent_type,
        name: agent.name.clone(),
        parameters: agent.parameters.clone(),
        prompts: agent.prompts.clone(),
        created_by,
        created_at: now,
    }
}

/// `Ok` when all checks are; else every field that is wrong, not only those of the first check.
pub(crate) fn all_fine<const CHECKS: usize>(checks: [Result<()>; CHECKS]) -> Result<()> {
    let mut wrong = Vec::new();
    for check in checks {
        match check {
            Err(Error::Invalid(fields)) => wrong.extend(fields),
            other => other?,
        }
    }
    all_valid(wrong)
}
