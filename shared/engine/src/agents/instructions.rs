//! Instructions to models, and directives that are carried out before any model is asked.

use domain::agent::Prompt;
use serde_json::{Map, Value, json};

/// Instructions with the sections that follow them.
pub(super) fn with_prompts(instructions: &str, prompts: &[Prompt]) -> String {
    let mut whole = instructions.to_owned();
    for prompt in prompts {
        let section = format!("\n\n## {}\n{}", prompt.title.as_str(), prompt.content);
        whole.push_str(&section);
    }
    whole.trim_start().to_owned()
}

/// A text that is there and says something.
pub(super) fn given(value: Option<&Value>) -> Option<String> {
    let text = value.and_then(Value::as_str).map(str::trim);
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The directive that looks up the weather of the agent's place, unless the input names another; `None` without a place.
pub(super) fn weather_directive(parameters: &Map<String, Value>, input: &Value) -> Option<String> {
    let location = given(input.get("location")).or_else(|| given(parameters.get("location")))?;
    let units = given(parameters.get("units")).unwrap_or_else(|| "metric".to_owned());
    // Written by serde_json: whatever a location contains stays inside its quotes, on this one line.
    let arguments = json!({ "location": location, "units": units });
    Some(format!("@get_weather {arguments}"))
}
