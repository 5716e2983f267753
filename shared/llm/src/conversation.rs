//! The parts that the protocols of hosted models have in common.

use domain::run::ToolOutcome;
use serde_json::Value;

/// The most tokens that are believed of one answer, so that sums do not overflow.
const MAX_COUNT: u64 = 1_000_000_000;

/// The message to a model when there is no other: providers refuse empty messages.
pub(crate) const NO_INPUT: &str = "(There is no input.)";

/// A count within a provider's `usage`; 0 when it says nothing. No answer has as many tokens as the limit.
pub(crate) fn count(usage: &Value, name: &str) -> u64 {
    usage[name].as_u64().unwrap_or(0).min(MAX_COUNT)
}

/// The outcome of a tool as providers take it: a text.
pub(crate) fn outcome_text(outcome: &ToolOutcome) -> String {
    match outcome {
        ToolOutcome::Ok(Value::String(text)) => text.clone(),
        ToolOutcome::Ok(value) => value.to_string(),
        ToolOutcome::Error(error) => format!("Error: {error}"),
    }
}
