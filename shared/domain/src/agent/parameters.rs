//! Parameters of agents: their kinds, and whether what a client gives fits.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::PartialSchema as _;
use utoipa::openapi::{RefOr, Schema};

use super::MAX_DEFINITION;
use super::catalog::AgentType;
use super::triage;
use crate::error::{FieldError, Result, all_valid};
use crate::ids::AgentId;
use crate::model;

/// A kind of value that a parameter takes (Prodgy's agent settings page).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ParameterKind {
    Text,
    Number,
    Selection { options: &'static [&'static str] },
    Boolean,
    Json,
}

/// A parameter that an agent of some type takes.
#[derive(Clone, Debug, Serialize)]
pub struct ParameterSpec {
    pub name: &'static str,
    pub label: &'static str,
    pub description: &'static str,
    #[serde(flatten)]
    pub kind: ParameterKind,
    pub required: bool,
    pub default: Option<Value>,
}

/// A parameter that an agent of some type takes.
// The members of a `ParameterSpec` as its JSON has them. Derived from the kinds, the schema would join an object with a choice of
// objects, which generators of clients leave out.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only described")]
struct ParameterSpecMembers {
    name: String,
    label: String,
    description: String,
    #[schema(rename = "type")]
    kind: ParameterType,
    /// What can be chosen, where `type` is `selection`.
    #[schema(nullable = false)]
    options: Option<Vec<String>>,
    required: bool,
    default: Option<Value>,
}

/// A kind of value that a parameter takes.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only described")]
enum ParameterType {
    Text,
    Number,
    Selection,
    Boolean,
    Json,
}

impl utoipa::PartialSchema for ParameterSpec {
    fn schema() -> RefOr<Schema> {
        ParameterSpecMembers::schema()
    }
}

impl utoipa::ToSchema for ParameterSpec {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((
            <ParameterType as utoipa::ToSchema>::name().into_owned(),
            ParameterType::schema(),
        ));
        ParameterSpecMembers::schemas(schemas);
    }
}

impl AgentType {
    /// Checks parameters against the type and fills in defaults. Errors name `<prefix>.<parameter>`.
    pub fn validate_parameters(
        self,
        prefix: &str,
        mut given: Map<String, Value>,
    ) -> Result<Map<String, Value>> {
        let specs = self.parameters();
        let mut errors = Vec::new();
        let mut wrong = |name: &str, message: String| {
            errors.push(FieldError::new(format!("{prefix}.{name}"), message))
        };
        for name in given
            .keys()
            .filter(|name| !specs.iter().any(|spec| spec.name == name.as_str()))
        {
            wrong(
                &name.chars().take(100).collect::<String>(),
                format!("is not a parameter of {}", self.slug()),
            );
        }
        for spec in &specs {
            match given.get(spec.name).filter(|value| !value.is_null()) {
                None if spec.required => wrong(spec.name, "can't be blank".to_owned()),
                None => {
                    given.remove(spec.name);
                    if let Some(default) = &spec.default {
                        given.insert(spec.name.to_owned(), default.clone());
                    }
                }
                Some(value) => {
                    if let Err(message) = spec.accepts(value) {
                        wrong(spec.name, message);
                    }
                }
            }
        }
        if let Some(message) = model::unfit_schema(&given) {
            wrong("output_schema", message.to_owned());
        }
        if serde_json::to_vec(&given).map_or(usize::MAX, |json| json.len()) > MAX_DEFINITION {
            errors.push(FieldError::new(
                prefix,
                format!("must be at most {MAX_DEFINITION} bytes"),
            ));
        }
        all_valid(errors)?;
        Ok(given)
    }
}
impl ParameterSpec {
    fn accepts(&self, value: &Value) -> Result<(), String> {
        if let Some(verdict) = model::check_parameter(self.name, value) {
            return verdict;
        }
        let text_of = |value: &Value| value.as_str().map(str::to_owned);
        match &self.kind {
            ParameterKind::Text => match text_of(value) {
                None => Err("must be a text".to_owned()),
                Some(text) if text.trim().is_empty() && self.required => {
                    Err("can't be blank".to_owned())
                }
                Some(text) if text.chars().count() > 20_000 => {
                    Err("must be at most 20000 characters".to_owned())
                }
                Some(_) => Ok(()),
            },
            ParameterKind::Number => match value.as_f64() {
                None => Err("must be a number".to_owned()),
                Some(number) => match self.name {
                    "max_steps" => integer_in_range(value, 50),
                    "max_tokens" => integer_in_range(value, 1_000_000_000),
                    "max_seconds" => integer_in_range(value, 86_400),
                    "max_cost_usd" if !(0.000_001..=10_000.0).contains(&number) => {
                        Err("must be from 0.000001 to 10000".to_owned())
                    }
                    _ => Ok(()),
                },
            },
            ParameterKind::Selection { options } => match text_of(value) {
                Some(choice) if options.contains(&choice.as_str()) => Ok(()),
                _ => Err(format!("must be one of {}", options.join(", "))),
            },
            ParameterKind::Boolean => {
                if value.is_boolean() {
                    Ok(())
                } else {
                    Err("must be true or false".to_owned())
                }
            }
            ParameterKind::Json => match self.name {
                "tools" => names_within(value, &TOOLS),
                "allowed_hosts" => hosts(value),
                "allowed_agents" => agents(value),
                "sections" => names_within(value, &SECTIONS),
                "priority_rules" => triage::check_rules(value),
                "escalation_criteria" => triage::check_criteria(value),
                _ => Ok(()),
            },
        }
    }
}

/// The tools that an agent may be allowed.
pub const TOOLS: [&str; 4] = [
    "get_weather",
    "http_request",
    "trigger_agent",
    "get_activity",
];

/// What a briefing may tell of.
pub const SECTIONS: [&str; 4] = ["weather", "activity", "calendar", "email"];

/// The most agents that one may be allowed to start by name or id.
const MAX_ALLOWED_AGENTS: usize = 20;

fn integer_in_range(value: &Value, most: u64) -> Result<(), String> {
    if value
        .as_u64()
        .is_some_and(|number| (1..=most).contains(&number))
    {
        Ok(())
    } else {
        Err(format!("must be a whole number from 1 to {most}"))
    }
}

fn names_within(value: &Value, known: &[&str]) -> Result<(), String> {
    let fine = value.as_array().is_some_and(|names| {
        names
            .iter()
            .all(|name| name.as_str().is_some_and(|name| known.contains(&name)))
    });
    if fine {
        Ok(())
    } else {
        Err(format!("must be a list of: {}", known.join(", ")))
    }
}

fn agents(value: &Value) -> Result<(), String> {
    let is_id = |agent: &Value| {
        agent
            .as_str()
            .is_some_and(|id| id.parse::<AgentId>().is_ok())
    };
    let fine = value == "*"
        || value
            .as_array()
            .is_some_and(|agents| agents.len() <= MAX_ALLOWED_AGENTS && agents.iter().all(is_id));
    if fine {
        Ok(())
    } else {
        Err(format!(
            "must be \"*\" or a list of at most {MAX_ALLOWED_AGENTS} ids of agents"
        ))
    }
}

fn hosts(value: &Value) -> Result<(), String> {
    let is_host = |host: &str| {
        let name = host.strip_prefix("*.").unwrap_or(host);
        !name.is_empty()
            && host.len() <= 253
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte))
    };
    let fine = value.as_array().is_some_and(|hosts| {
        hosts.len() <= 100 && hosts.iter().all(|host| host.as_str().is_some_and(is_host))
    });
    if fine {
        Ok(())
    } else {
        Err("must be a list of at most 100 host names, each with an optional leading *.".to_owned())
    }
}
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Error;

    fn check(kind: AgentType, parameters: Value) -> Result<Map<String, Value>> {
        kind.validate_parameters("config", parameters.as_object().unwrap().clone())
    }

    #[test]
    fn parameters_are_checked_by_kind_and_completed_with_defaults() {
        let complete = check(AgentType::WeatherCheck, json!({"location": "New York"})).unwrap();
        assert_eq!(
            Value::from(complete),
            json!({"location": "New York", "units": "metric"})
        );

        for (kind, wrong, field) in [
            (AgentType::WeatherCheck, json!({}), "config.location"),
            (
                AgentType::WeatherCheck,
                json!({"location": "  "}),
                "config.location",
            ),
            (
                AgentType::WeatherCheck,
                json!({"location": 7}),
                "config.location",
            ),
            (
                AgentType::WeatherCheck,
                json!({"location": "x", "units": "kelvin"}),
                "config.units",
            ),
            (
                AgentType::WeatherCheck,
                json!({"location": "x", "colour": "red"}),
                "config.colour",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "tools": ["rm"]}),
                "config.tools",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "model": "elsewhere/gpt"}),
                "config.model",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "fallbacks": ["openai/gpt-5", 7]}),
                "config.fallbacks",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "credential_id": "mine"}),
                "config.credential_id",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "max_output_tokens": 0}),
                "config.max_output_tokens",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "model": "openai/gpt-5", "output_schema": []}),
                "config.output_schema",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "output_schema": {}}),
                "config.output_schema",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "max_steps": 0}),
                "config.max_steps",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "max_steps": 2.5}),
                "config.max_steps",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "max_tokens": 0}),
                "config.max_tokens",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "max_seconds": 86401}),
                "config.max_seconds",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "max_cost_usd": 0}),
                "config.max_cost_usd",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "allowed_hosts": ["a/b"]}),
                "config.allowed_hosts",
            ),
            (
                AgentType::Freeform,
                json!({"instructions": "x", "allowed_agents": ["*"]}),
                "config.allowed_agents",
            ),
            (
                AgentType::SupportTriage,
                json!({"priority_rules": {"urgent": "outage"}}),
                "config.priority_rules",
            ),
            (
                AgentType::SupportTriage,
                json!({"priority_rules": [{"priority": "urgent", "when": {"any": []}}]}),
                "config.priority_rules",
            ),
            (
                AgentType::SupportTriage,
                json!({"escalation_criteria": 7}),
                "config.escalation_criteria",
            ),
            (
                AgentType::SupportTriage,
                json!({"auto_notify": "yes"}),
                "config.auto_notify",
            ),
            (
                AgentType::MorningBriefing,
                json!({"sections": ["news"]}),
                "config.sections",
            ),
            (
                AgentType::MorningBriefing,
                json!({"style": "poetic"}),
                "config.style",
            ),
        ] {
            match check(kind, wrong.clone()) {
                Err(Error::Invalid(errors)) => assert_eq!(errors[0].field, field, "{wrong}"),
                other => panic!("{wrong}: {other:?}"),
            }
        }
    }
}
