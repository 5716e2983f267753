//! The weather of a place.

use domain::agent::{AgentVersion, ParameterKind, ParameterSpec};
use domain::run::{MessageKind, MessageLevel, ToolOutcome};
use serde_json::{Value, json};

use super::AgentKind;
use super::instructions::weather_directive;
use super::parameters::units;
use crate::definition::Definition;
use crate::model_choice::ModelChoice;
use crate::outcome::Outcome;
use crate::result::{Outcomes, RunResult, first_of, shown_by_default};

pub(super) struct WeatherCheck;

impl AgentKind for WeatherCheck {
    fn name(&self) -> &'static str {
        "Weather Check"
    }

    fn description(&self) -> &'static str {
        "Reports current weather and today's forecast for a place."
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let location = ParameterSpec::new(
            "location",
            "Location",
            ParameterKind::Text,
            "City or postal code.",
        );
        vec![location.required(), units()]
    }

    fn define(&self, version: &AgentVersion, input: &Value) -> Result<Definition, String> {
        let directive =
            weather_directive(&version.parameters, input).ok_or("the agent has no location")?;
        Ok(Definition {
            // All that the input may say is the location.
            instructions: directive,
            tools: vec!["get_weather".to_owned()],
            ..Definition::new(ModelChoice::default(), Weather)
        })
    }
}

/// The text and the weather that it tells of. Without weather there is no result: a tool's error ends the run.
#[derive(Debug)]
pub(crate) struct Weather;

impl RunResult for Weather {
    fn fatal_error<'a>(&self, outcomes: &Outcomes<'a>) -> Option<&'a str> {
        outcomes.iter().find_map(|(_, outcome)| match outcome {
            ToolOutcome::Error(error) => Some(error.as_str()),
            ToolOutcome::Ok(_) => None,
        })
    }

    fn output(
        &self,
        _: &ModelChoice,
        text: &str,
        _: Option<&Result<Value, String>>,
        outcomes: &Outcomes<'_>,
    ) -> Result<Value, String> {
        match first_of("get_weather", outcomes) {
            Some(ToolOutcome::Ok(weather)) => Ok(json!({ "text": text, "weather": weather })),
            _ => Err("the weather was not looked up".to_owned()),
        }
    }

    fn shown(&self, outcome: &Outcome) -> (MessageKind, MessageLevel) {
        match outcome {
            Outcome::Failed { .. } => shown_by_default(outcome),
            _ => (MessageKind::Text, MessageLevel::Info),
        }
    }
}
