//! The sources of a run's result. Pure, like the machine that asks.

use std::fmt::Debug;

use domain::run::{MessageKind, MessageLevel, ToolCall, ToolOutcome};
use serde_json::{Value, json};

use crate::model_choice::ModelChoice;
use crate::outcome::Outcome;

/// The calls of a run that came back.
pub(crate) type Outcomes<'a> = [(&'a ToolCall, &'a ToolOutcome)];

/// The sources of a run's result. Each type of agent has its own.
pub(crate) trait RunResult: Debug + Send + Sync {
    /// The error of a tool that the run cannot do without.
    fn fatal_error<'a>(&self, _outcomes: &Outcomes<'a>) -> Option<&'a str> {
        None
    }

    /// The schema that the last answer has to be checked against before there is an output.
    fn schema<'a>(&self, _model: &'a ModelChoice) -> Option<&'a Value> {
        None
    }

    /// The output of a run whose model has said its last `text`, and what that comes to under the schema, if there is one.
    ///
    /// # Errors
    /// The text for people: why there is none.
    fn output(
        &self,
        model: &ModelChoice,
        text: &str,
        checked: Option<&Result<Value, String>>,
        outcomes: &Outcomes<'_>,
    ) -> Result<Value, String>;

    /// The form of an outcome's text.
    fn shown(&self, outcome: &Outcome) -> (MessageKind, MessageLevel) {
        shown_by_default(outcome)
    }
}

/// The form of outcomes whose result says nothing of it.
pub(crate) fn shown_by_default(outcome: &Outcome) -> (MessageKind, MessageLevel) {
    match outcome {
        Outcome::Failed { .. } => (MessageKind::Alert, MessageLevel::Warning),
        _ => (MessageKind::Markdown, MessageLevel::Info),
    }
}

/// The model's last text. What a tool could not do is the model's to deal with.
#[derive(Debug)]
pub(crate) struct Text;

impl RunResult for Text {
    fn schema<'a>(&self, model: &'a ModelChoice) -> Option<&'a Value> {
        model.output_schema.as_ref()
    }

    fn output(
        &self,
        _: &ModelChoice,
        text: &str,
        checked: Option<&Result<Value, String>>,
        _: &Outcomes<'_>,
    ) -> Result<Value, String> {
        match checked {
            None => Ok(json!({ "text": text })),
            Some(Ok(data)) => Ok(json!({ "text": text, "data": data })),
            Some(Err(why)) => Err(why.clone()),
        }
    }
}

/// The outcome of the first call of a tool.
pub(crate) fn first_of<'a>(tool: &str, outcomes: &Outcomes<'a>) -> Option<&'a ToolOutcome> {
    let first = outcomes.iter().find(|(call, _)| call.tool == tool);
    first.map(|(_, outcome)| *outcome)
}
