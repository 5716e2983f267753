//! Limits on the usage of a run.

use std::time::Duration;

use domain::run::TokenUsage;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The time that a run may take when its agent does not say.
const DEFAULT_SECONDS: u64 = 3600;

/// An agent's limits on each of its runs, beside the number of steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The tokens that its models may read and write together.
    pub tokens: Option<u64>,
    /// The cost that they may have, in millionths of a US dollar.
    pub cost_micros: Option<u64>,
    /// The time that workers may have the run, in all. Pauses and outages do not count.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tokens: None,
            cost_micros: None,
            time: Duration::from_secs(DEFAULT_SECONDS),
        }
    }
}

impl Limits {
    /// The limits that an agent's parameters set.
    pub fn of(parameters: &Map<String, Value>) -> Self {
        let number = |name: &str| parameters.get(name).and_then(Value::as_u64);
        let cost = parameters.get("max_cost_usd").and_then(Value::as_f64);
        Self {
            tokens: number("max_tokens"),
            // Validated to be positive and not large.
            cost_micros: cost.map(|dollars| (dollars * 1e6).round() as u64),
            time: Duration::from_secs(number("max_seconds").unwrap_or(DEFAULT_SECONDS)),
        }
    }

    /// The limit that keeps the run from asking a model once more.
    pub fn reached(&self, usage: TokenUsage, cost_micros: u64) -> Option<String> {
        let used = usage.input.saturating_add(usage.output);
        if let Some(limit) = self.tokens.filter(|limit| used >= *limit) {
            return Some(format!("token limit of {limit} reached"));
        }
        let limit = self.cost_micros.filter(|limit| cost_micros >= *limit)?;
        Some(format!("cost limit of ${} reached", limit as f64 / 1e6))
    }

    /// The error of a run that has taken too long.
    pub fn time_is_up(&self) -> String {
        format!("time limit of {} s reached", self.time.as_secs())
    }
}
