//! What agents there are to install, and what each of them takes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::parameters::{ParameterKind, ParameterSpec};
use crate::model;

/// What an agent does (AgentPlatform's agents page).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentType {
    Freeform,
    WeatherCheck,
    MorningBriefing,
    SupportTriage,
}

/// What can be installed: an agent type with its face in the catalog.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AgentTemplate {
    /// The `agent_template_id` of an install.
    pub id: Uuid,
    pub slug: &'static str,
    #[serde(rename = "type")]
    pub agent_type: AgentType,
    pub name: &'static str,
    pub description: &'static str,
    /// Whether it can be installed.
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
                "Tells the weather, and what the other agents of the workspace have done since yesterday.",
                true,
            ),
            Self::SupportTriage => (
                "Support Triage",
                "Rates a support request by your rules, suggests an answer, and says when a person must look.",
                true,
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

    pub(super) fn parameters(self) -> Vec<ParameterSpec> {
        let text = |name, label, description, required| ParameterSpec {
            name,
            label,
            description,
            kind: ParameterKind::Text,
            required,
            default: None,
        };
        match self {
            Self::Freeform => {
                let mut specs = vec![text(
                    "instructions",
                    "Instructions",
                    "What the agent shall do, in your words.",
                    true,
                )];
                specs.extend(models());
                specs.extend([
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
                    description: "Names of the tools that the agent may call: `get_weather`, `http_request`, `trigger_agent`, `get_activity`.",
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
                    name: "allowed_agents",
                    label: "Allowed agents",
                    description: "Ids of the agents that `trigger_agent` may start, at most 20, or `*` for any of the workspace.",
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
                ParameterSpec {
                    name: "max_tokens",
                    label: "Token limit",
                    description: "Tokens that the models of a run may read and write together, 1 to 1000000000; no limit when left out.",
                    kind: ParameterKind::Number,
                    required: false,
                    default: None,
                },
                ParameterSpec {
                    name: "max_seconds",
                    label: "Time limit",
                    description: "Seconds that a run may be worked on, pauses excepted, 1 to 86400; 3600 when left out.",
                    kind: ParameterKind::Number,
                    required: false,
                    default: None,
                },
                ParameterSpec {
                    name: "max_cost_usd",
                    label: "Cost limit",
                    description: "US dollars that the models of a run may cost, by the price table, 0.000001 to 10000; no limit when left out.",
                    kind: ParameterKind::Number,
                    required: false,
                    default: None,
                },
                ]);
                specs
            }
            Self::WeatherCheck => vec![
                text("location", "Location", "City or postal code.", true),
                units(),
            ],
            Self::MorningBriefing => {
                let mut specs = vec![
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
                        "Where to report the weather of; without one there is no weather.",
                        false,
                    ),
                    units(),
                    ParameterSpec {
                        name: "sections",
                        label: "Sections",
                        description: "What to tell of: `weather`, `activity`. `calendar` and `email` are not connected yet, which the briefing then says.",
                        kind: ParameterKind::Json,
                        required: false,
                        default: Some(Value::from(vec!["weather", "activity"])),
                    },
                ];
                specs.extend(models());
                specs
            }
            Self::SupportTriage => {
                let mut specs = vec![
                    ParameterSpec {
                        name: "priority_rules",
                        label: "Priority rules",
                        description: "At most 50 of {\"priority\": \"urgent|high|normal|low\", \"when\": {\"any\": [keywords], \"all\": [keywords]} or a text, \"escalate\"?: bool, \"name\"?: text}. Where keywords are found, the rule decides, whatever a model thinks; the highest priority wins. A text is for a hosted model.",
                        kind: ParameterKind::Json,
                        required: false,
                        default: Some(Value::Array(Vec::new())),
                    },
                    ParameterSpec {
                        name: "escalation_criteria",
                        label: "Escalation criteria",
                        description: "When a person must look: keywords as in a rule, or a text for a hosted model.",
                        kind: ParameterKind::Json,
                        required: false,
                        default: None,
                    },
                    ParameterSpec {
                        name: "auto_notify",
                        label: "Notify",
                        description: "Whether a request that a person must look at is shown as a critical alert.",
                        kind: ParameterKind::Boolean,
                        required: false,
                        default: Some(Value::from(true)),
                    },
                    text(
                        "tone",
                        "Tone",
                        "How a hosted model shall write the suggested response.",
                        false,
                    ),
                    text(
                        "instructions",
                        "Instructions",
                        "What else a hosted model shall know or do.",
                        false,
                    ),
                ];
                specs.extend(models());
                specs
            }
        }
    }
}

fn units() -> ParameterSpec {
    ParameterSpec {
        name: "units",
        label: "Units",
        description: "Celsius and km/h, or Fahrenheit and mph.",
        kind: ParameterKind::Selection {
            options: &["metric", "imperial"],
        },
        required: false,
        default: Some(Value::from("metric")),
    }
}

/// Which models an agent asks.
fn models() -> [ParameterSpec; 4] {
    [
        ParameterSpec {
            name: "model",
            label: "Model",
            description: "Which model answers: `builtin/extractive`, which quotes and does not generate, `openai/<model>`, `anthropic/<model>` or `bedrock/<model>`.",
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
        ParameterSpec {
            name: "credential_id",
            label: "Credential",
            description: "The key for the model's provider; the organization's newest when left out.",
            kind: ParameterKind::Text,
            required: false,
            default: None,
        },
        ParameterSpec {
            name: "max_output_tokens",
            label: "Output limit",
            description: "Tokens that a hosted model may write in one answer, 1 to 128000; 4096 when left out.",
            kind: ParameterKind::Number,
            required: false,
            default: None,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_found_by_slug_and_by_id() {
        for kind in AgentType::ALL {
            assert_eq!(AgentType::find(kind.slug()), Some(kind));
            assert_eq!(AgentType::find(&kind.template().id.to_string()), Some(kind));
        }
        assert_eq!(AgentType::find("daily_weather"), None);
    }
}
