//! The types of agents: a file each, with its parameters, what it makes of a run, and its output.

mod freeform;
mod instructions;
mod morning_briefing;
mod parameters;
mod support_triage;
#[cfg(test)]
mod tests;
pub(crate) mod weather_check;

use domain::Result;
use domain::agent::{self, AgentTemplate, AgentType, AgentVersion, ParameterSpec};
use serde_json::{Map, Value};

use crate::definition::Definition;

/// A type of agent.
trait AgentKind: Sync {
    /// The name in the catalog.
    fn name(&self) -> &'static str;

    /// One sentence for the catalog.
    fn description(&self) -> &'static str;

    fn parameters(&self) -> Vec<ParameterSpec>;

    /// An error in parameters that fit one by one: the name of one, and a message.
    fn check(&self, _parameters: &Map<String, Value>) -> Option<(&'static str, String)> {
        None
    }

    /// The definition that a run under `version` follows.
    ///
    /// # Errors
    /// The text for people: why such an agent cannot run.
    fn define(&self, version: &AgentVersion, input: &Value) -> Result<Definition, String>;
}

fn kind(agent_type: AgentType) -> &'static dyn AgentKind {
    match agent_type {
        AgentType::Freeform => &freeform::Freeform,
        AgentType::WeatherCheck => &weather_check::WeatherCheck,
        AgentType::MorningBriefing => &morning_briefing::MorningBriefing,
        AgentType::SupportTriage => &support_triage::SupportTriage,
    }
}

/// The entry of a type in the catalog.
pub fn template(agent_type: AgentType) -> AgentTemplate {
    let kind = kind(agent_type);
    AgentTemplate {
        id: agent_type.template_id(),
        slug: agent_type.slug(),
        agent_type,
        name: kind.name(),
        description: kind.description(),
        available: true,
        parameters: kind.parameters(),
    }
}

/// Checks parameters against a type and fills in defaults.
///
/// # Errors
/// `Invalid` names `<prefix>.<parameter>`.
pub fn validate_parameters(
    agent_type: AgentType,
    prefix: &str,
    given: Map<String, Value>,
) -> Result<Map<String, Value>> {
    let kind = kind(agent_type);
    agent::validate_parameters(
        agent_type.slug(),
        &kind.parameters(),
        |parameters| kind.check(parameters),
        prefix,
        given,
    )
}

/// The definition of a run under `version`.
///
/// # Errors
/// The text for people: why such an agent cannot run.
pub(crate) fn define(version: &AgentVersion, input: &Value) -> Result<Definition, String> {
    kind(version.agent_type).define(version, input)
}
