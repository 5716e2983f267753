//! Agents: what they are, what they can be told, and when they run by themselves.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::audit::Actor;
use crate::error::{FieldError, Result, all_valid};
use crate::ids::{AgentId, AgentVersionId, OrganizationId, WorkspaceId};
use crate::model;
use crate::run::MAX_PAYLOAD;
use crate::schedule::{self, Schedule};
use crate::text::{Description, Name};

/// So many failures in a row disable an agent [found:AN].
pub const MAX_CONSECUTIVE_FAILURES: u32 = 5;

/// The largest set of prompts an agent may have.
pub const MAX_PROMPTS: usize = 50;

/// What an agent does [found:AA].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentType {
    Freeform,
    WeatherCheck,
    MorningBriefing,
    SupportTriage,
}

/// What an agent's owner, or the platform, has decided about its running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Active,
    Paused,
    /// Failed too often in a row. Resuming clears it.
    Disabled,
}

/// A section of instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Prompt {
    pub title: Name,
    /// At most 20,000 characters.
    pub content: String,
}

/// An agent as it is now. What it does is in its current [`AgentVersion`], which this repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    pub id: AgentId,
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    pub name: Name,
    #[serde(default)]
    pub description: Description,
    pub agent_type: AgentType,
    pub parameters: Map<String, Value>,
    pub prompts: Vec<Prompt>,
    /// Five-field cron.
    pub schedule: Option<String>,
    /// IANA name.
    pub timezone: String,
    pub state: AgentState,
    pub consecutive_failures: u32,
    /// The version that new runs follow.
    pub version_id: AgentVersionId,
    /// Its number, from 1.
    pub version: u32,
    /// The highest number given so far: a new version gets the next.
    pub latest_version: u32,
    /// When the schedule fires next; `None` without a schedule, or while the agent does not run by itself.
    pub next_run_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Counts writes of this row; a write names the one that it has seen.
    pub revision: u64,
}

impl Agent {
    /// When the schedule fires next after `now`: never for an agent that is paused or disabled.
    pub fn next_firing(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let expression = self
            .schedule
            .as_deref()
            .filter(|_| self.state == AgentState::Active)?;
        let timezone = schedule::timezone(&self.timezone).ok()?;
        Schedule::parse(expression, timezone).ok()?.next_after(now)
    }
}

/// One state of an agent's definition. Never changed: a run started under it keeps to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentVersion {
    pub id: AgentVersionId,
    pub agent_id: AgentId,
    pub workspace_id: WorkspaceId,
    /// From 1.
    pub number: u32,
    pub agent_type: AgentType,
    pub name: Name,
    pub parameters: Map<String, Value>,
    pub prompts: Vec<Prompt>,
    pub created_by: Actor,
    pub created_at: DateTime<Utc>,
}

/// Checks an agent's schedule and time zone together; errors name `schedule` and `timezone`.
pub fn validate_schedule(
    expression: Option<&str>,
    timezone: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut errors = Vec::new();
    match (schedule::timezone(timezone), expression) {
        (Err(message), _) => errors.push(FieldError::new("timezone", message)),
        (Ok(zone), Some(expression)) => match Schedule::parse(expression, zone) {
            Err(message) => errors.push(FieldError::new("schedule", message)),
            Ok(schedule) if schedule.next_after(now).is_none() => {
                errors.push(FieldError::new("schedule", "never fires"))
            }
            Ok(_) => {}
        },
        (Ok(_), None) => {}
    }
    all_valid(errors)
}

/// Checks prompts; errors name `prompts[i].content`.
pub fn validate_prompts(prompts: &[Prompt]) -> Result<()> {
    let mut errors = Vec::new();
    if prompts.len() > MAX_PROMPTS {
        errors.push(FieldError::new(
            "prompts",
            format!("must have at most {MAX_PROMPTS} sections"),
        ));
    }
    for (index, prompt) in prompts.iter().enumerate() {
        if prompt.content.chars().count() > 20_000 {
            errors.push(FieldError::new(
                format!("prompts[{index}].content"),
                "must be at most 20000 characters",
            ));
        }
    }
    // As JSON, in which they are stored: control characters take six bytes there.
    if serde_json::to_vec(prompts).map_or(usize::MAX, |json| json.len()) > MAX_PAYLOAD {
        errors.push(FieldError::new(
            "prompts",
            format!("must be at most {MAX_PAYLOAD} bytes in all"),
        ));
    }
    all_valid(errors)
}

/// A kind of value that a parameter takes [found:PU-AG].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ParameterKind {
    Text,
    Number,
    Selection { options: &'static [&'static str] },
    Boolean,
    Json,
}

/// A parameter that an agent of some type takes.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ParameterSpec {
    pub name: &'static str,
    pub label: &'static str,
    pub description: &'static str,
    #[serde(flatten)]
    pub kind: ParameterKind,
    pub required: bool,
    pub default: Option<Value>,
}

/// What can be installed: an agent type with its face in the catalogue.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AgentTemplate {
    /// The `agent_template_id` of an install.
    pub id: Uuid,
    pub slug: &'static str,
    #[serde(rename = "type")]
    pub agent_type: AgentType,
    pub name: &'static str,
    pub description: &'static str,
    /// Whether it can be installed yet.
    pub available: bool,
    pub parameters: Vec<ParameterSpec>,
}

impl AgentType {
    pub const ALL: [Self; 4] = [
        Self::Freeform,
        Self::WeatherCheck,
        Self::MorningBriefing,
        Self::SupportTriage,
    ];

    pub fn slug(self) -> &'static str {
        match self {
            Self::Freeform => "freeform",
            Self::WeatherCheck => "weather_check",
            Self::MorningBriefing => "morning_briefing",
            Self::SupportTriage => "support_triage",
        }
    }

    /// The type with this slug or template id.
    pub fn find(reference: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.slug() == reference || kind.template_id().to_string() == reference)
    }

    fn template_id(self) -> Uuid {
        // Fixed for ever: clients store them. Version 8 leaves the content to us.
        let number = match self {
            Self::Freeform => 1,
            Self::WeatherCheck => 2,
            Self::MorningBriefing => 3,
            Self::SupportTriage => 4,
        };
        Uuid::from_u128(0x5169_6e61_6c62_8000_8000_0000_0000_0000 | number)
    }

    pub fn template(self) -> AgentTemplate {
        let (name, description, available) = match self {
            Self::Freeform => (
                "Freeform",
                "Follows your instructions, with the tools that you allow.",
                true,
            ),
            Self::WeatherCheck => (
                "Weather Check",
                "Reports current weather and today's forecast for a place.",
                true,
            ),
            Self::MorningBriefing => (
                "Morning Briefing",
                "Sums up the day's calendar, mail and weather.",
                false,
            ),
            Self::SupportTriage => (
                "Support Triage",
                "Rates a support request and suggests an answer.",
                false,
            ),
        };
        AgentTemplate {
            id: self.template_id(),
            slug: self.slug(),
            agent_type: self,
            name,
            description,
            available,
            parameters: self.parameters(),
        }
    }

    fn parameters(self) -> Vec<ParameterSpec> {
        let text = |name, label, description, required| ParameterSpec {
            name,
            label,
            description,
            kind: ParameterKind::Text,
            required,
            default: None,
        };
        match self {
            Self::Freeform => vec![
                text(
                    "instructions",
                    "Instructions",
                    "What the agent shall do, in your words.",
                    true,
                ),
                ParameterSpec {
                    name: "model",
                    label: "Model",
                    description: "Which model answers: `builtin/extractive`, which quotes and does not generate, `openai/<model>` or `anthropic/<model>`.",
                    kind: ParameterKind::Text,
                    required: false,
                    default: Some(Value::from(model::EXTRACTIVE)),
                },
                ParameterSpec {
                    name: "fallbacks",
                    label: "Fallback models",
                    description: "At most 5 models to ask, in this order, when those before do not answer.",
                    kind: ParameterKind::Json,
                    required: false,
                    default: None,
                },
                text(
                    "credential_id",
                    "Credential",
                    "The key for the model's provider; the organization's newest when left out.",
                    false,
                ),
                ParameterSpec {
                    name: "max_output_tokens",
                    label: "Output limit",
                    description: "Tokens that a hosted model may write in one answer, 1 to 128000; 4096 when left out.",
                    kind: ParameterKind::Number,
                    required: false,
                    default: None,
                },
                ParameterSpec {
                    name: "output_schema",
                    label: "Output schema",
                    description: "JSON Schema of the result, which a hosted model then writes as JSON.",
                    kind: ParameterKind::Json,
                    required: false,
                    default: None,
                },
                ParameterSpec {
                    name: "tools",
                    label: "Tools",
                    description: "Names of the tools that the agent may call: `get_weather`, `http_request`.",
                    kind: ParameterKind::Json,
                    required: false,
                    default: Some(Value::Array(Vec::new())),
                },
                ParameterSpec {
                    name: "allowed_hosts",
                    label: "Allowed hosts",
                    description: "Host names that `http_request` may reach, `*.example.com` for all below one.",
                    kind: ParameterKind::Json,
                    required: false,
                    default: Some(Value::Array(Vec::new())),
                },
                ParameterSpec {
                    name: "max_steps",
                    label: "Step limit",
                    description: "Model answers a run may take, 1 to 50.",
                    kind: ParameterKind::Number,
                    required: false,
                    default: Some(Value::from(20)),
                },
            ],
            Self::WeatherCheck => vec![
                text("location", "Location", "City or postal code.", true),
                ParameterSpec {
                    name: "units",
                    label: "Units",
                    description: "Celsius and km/h, or Fahrenheit and mph.",
                    kind: ParameterKind::Selection {
                        options: &["metric", "imperial"],
                    },
                    required: false,
                    default: Some(Value::from("metric")),
                },
            ],
            Self::MorningBriefing => vec![
                ParameterSpec {
                    name: "style",
                    label: "Style",
                    description: "How much to say.",
                    kind: ParameterKind::Selection {
                        options: &["concise", "detailed"],
                    },
                    required: false,
                    default: Some(Value::from("concise")),
                },
                text(
                    "location",
                    "Location",
                    "Where to report the weather of.",
                    false,
                ),
            ],
            Self::SupportTriage => vec![
                ParameterSpec {
                    name: "priority_rules",
                    label: "Priority rules",
                    description: "What makes a request urgent.",
                    kind: ParameterKind::Json,
                    required: false,
                    default: None,
                },
                text(
                    "escalation_criteria",
                    "Escalation criteria",
                    "When a person must look.",
                    false,
                ),
            ],
        }
    }

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
        if serde_json::to_vec(&given).map_or(usize::MAX, |json| json.len()) > MAX_PAYLOAD {
            errors.push(FieldError::new(
                prefix,
                format!("must be at most {MAX_PAYLOAD} bytes"),
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
                Some(number)
                    if self.name == "max_steps"
                        && !(value.is_u64() && (1.0..=50.0).contains(&number)) =>
                {
                    Err("must be a whole number from 1 to 50".to_owned())
                }
                Some(_) => Ok(()),
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
                _ => Ok(()),
            },
        }
    }
}

/// The tools that an agent may be allowed.
pub const TOOLS: [&str; 2] = ["get_weather", "http_request"];

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
                json!({"instructions": "x", "allowed_hosts": ["a/b"]}),
                "config.allowed_hosts",
            ),
        ] {
            match check(kind, wrong.clone()) {
                Err(Error::Invalid(errors)) => assert_eq!(errors[0].field, field, "{wrong}"),
                other => panic!("{wrong}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_template_is_found_by_slug_and_by_id() {
        for kind in AgentType::ALL {
            assert_eq!(AgentType::find(kind.slug()), Some(kind));
            assert_eq!(AgentType::find(&kind.template().id.to_string()), Some(kind));
        }
        assert_eq!(AgentType::find("daily_weather"), None);
    }
}
