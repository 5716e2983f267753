//! What a run that has come to its end results in, by the kind of its result. Pure, like the machine that asks.

use domain::run::{MessageKind, MessageLevel, ToolCall, ToolOutcome};
use serde_json::{Value, json};

use crate::definition::{Definition, ResultKind};
use crate::machine::Outcome;
use crate::{briefing, triage};

/// The error of a tool that the run cannot do without.
pub(crate) fn fatal_error<'a>(
    kind: &ResultKind,
    mut outcomes: impl Iterator<Item = (&'a ToolCall, &'a ToolOutcome)>,
) -> Option<&'a str> {
    match kind {
        ResultKind::Text | ResultKind::Briefing(_) | ResultKind::Triage(_) => None,
        ResultKind::Weather => outcomes.find_map(|(_, outcome)| match outcome {
            ToolOutcome::Error(error) => Some(error.as_str()),
            ToolOutcome::Ok(_) => None,
        }),
    }
}

/// The schema that the last answer has to be checked against before there is an output.
pub(crate) fn schema(definition: &Definition) -> Option<&Value> {
    match &definition.result {
        ResultKind::Text | ResultKind::Triage(_) => definition.model.output_schema.as_ref(),
        ResultKind::Weather | ResultKind::Briefing(_) => None,
    }
}

/// The output of a run whose model has said its last `text`, and what that comes to under the schema, if there is one.
///
/// # Errors
/// The text for people: why there is none.
pub(crate) fn of<'a>(
    definition: &Definition,
    text: &str,
    checked: Option<&Result<Value, String>>,
    outcomes: impl Iterator<Item = (&'a ToolCall, &'a ToolOutcome)>,
) -> Result<Value, String> {
    match &definition.result {
        ResultKind::Text => match checked {
            None => Ok(json!({ "text": text })),
            Some(Ok(data)) => Ok(json!({ "text": text, "data": data })),
            Some(Err(why)) => Err(why.clone()),
        },
        ResultKind::Weather => match first_of("get_weather", outcomes) {
            Some(ToolOutcome::Ok(weather)) => Ok(json!({ "text": text, "weather": weather })),
            _ => Err("the weather was not looked up".to_owned()),
        },
        ResultKind::Briefing(briefing) => Ok(briefing::output(
            briefing,
            &definition.model,
            text,
            outcomes,
        )),
        ResultKind::Triage(triage) => triage::output(triage, &definition.model, text, checked),
    }
}

/// What became of the first call of a tool.
pub(crate) fn first_of<'a>(
    tool: &str,
    mut outcomes: impl Iterator<Item = (&'a ToolCall, &'a ToolOutcome)>,
) -> Option<&'a ToolOutcome> {
    outcomes.find_map(|(call, outcome)| (call.tool == tool).then_some(outcome))
}

/// How the text of an outcome is shown.
pub(crate) fn shown(kind: &ResultKind, outcome: &Outcome) -> (MessageKind, MessageLevel) {
    match (kind, outcome) {
        (_, Outcome::Failed { .. }) => (MessageKind::Alert, MessageLevel::Warning),
        (ResultKind::Weather, _) => (MessageKind::Text, MessageLevel::Info),
        (ResultKind::Triage(triage), Outcome::Completed { output })
            if triage.auto_notify && output["triage"]["escalate"] == true =>
        {
            (MessageKind::Alert, MessageLevel::Critical)
        }
        _ => (MessageKind::Markdown, MessageLevel::Info),
    }
}
