//! The types of agents that there are.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::parameters::ParameterSpec;

/// Names the types of agents, each with its slug and the number in its template id. Both are fixed for ever: clients store them.
macro_rules! agent_types {
    ($($name:ident: $slug:literal, $number:literal;)*) => {
        /// The type of an agent (AgentPlatform's agents page).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum AgentType {
            $($name,)*
        }

        impl AgentType {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            pub fn slug(self) -> &'static str {
                match self {
                    $(Self::$name => $slug,)*
                }
            }

            fn number(self) -> u128 {
                match self {
                    $(Self::$name => $number,)*
                }
            }
        }
    };
}

agent_types! {
    Freeform: "freeform", 1;
    WeatherCheck: "weather_check", 2;
    MorningBriefing: "morning_briefing", 3;
    SupportTriage: "support_triage", 4;
}

/// An agent type as the catalog shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AgentTemplate {
    /// The `agent_template_id` of an install.
    pub id: Uuid,
    pub slug: &'static str,
    #[serde(rename = "type")]
    pub agent_type: AgentType,
    pub name: &'static str,
    pub description: &'static str,
    /// `true` if it can be installed.
    pub available: bool,
    pub parameters: Vec<ParameterSpec>,
}

impl AgentType {
    /// The type with this slug or template id.
    pub fn find(reference: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|kind| kind.slug() == reference || kind.template_id().to_string() == reference)
    }

    pub fn template_id(self) -> Uuid {
        // Version 8 leaves the content to us.
        Uuid::from_u128(0x5169_6e61_6c62_8000_8000_0000_0000_0000 | self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_found_by_slug_and_by_id() {
        for kind in AgentType::ALL {
            assert_eq!(AgentType::find(kind.slug()), Some(*kind));
            assert_eq!(
                AgentType::find(&kind.template_id().to_string()),
                Some(*kind)
            );
        }
        assert_eq!(AgentType::find("daily_weather"), None);
    }
}
