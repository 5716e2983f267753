//! Asking models and calling tools, with patience for those that are not available just now.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::RunId;
use domain::run::{ToolCall, ToolOutcome};
use llm::{Model, ModelAnswer, ModelError, ModelRequest};
use rand::RngExt;
use runtime::Clock;
use tools::{ToolError, ToolInvocation, Toolbox};

use crate::definition::Definition;

/// How often something unavailable is tried.
const ATTEMPTS: u32 = 3;
/// What one call may take: two requests at their time limit, and the writes around them.
const CALL_TIME: TimeDelta = TimeDelta::seconds(40);

/// How long this worker may go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) deadline: DateTime<Utc>,
}

impl Patience<'_> {
    /// Whether there is time for another call. One that the host cuts short would have an unknown outcome.
    pub(crate) fn is_left(self) -> bool {
        self.deadline - self.clock.now() >= CALL_TIME
    }

    /// Waits for the next attempt; `false` when there is none.
    async fn before_another(self, attempt: u32) -> bool {
        if attempt == ATTEMPTS {
            return false;
        }
        let longest = 500 << attempt;
        let wait = rand::rng().random_range(longest / 2..=longest);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        self.is_left()
    }
}

/// The model's answer, or the text that ends the run.
pub(crate) async fn ask(
    model: &Model,
    request: &ModelRequest,
    patience: Patience<'_>,
) -> Result<ModelAnswer, String> {
    let mut attempt = 1;
    loop {
        match model.answer(request).await {
            Ok(answer) => return Ok(answer),
            Err(ModelError::Refused(why)) => return Err(format!("the model refused: {why}")),
            Err(ModelError::Unavailable(_)) if patience.before_another(attempt).await => {
                attempt += 1;
            }
            Err(ModelError::Unavailable(why)) => {
                return Err(format!("model not available: {why}"));
            }
        }
    }
}

/// Whether the run may make this call, and if so, whether it may be repeated. The error is for the model.
pub(crate) fn check(
    toolbox: &Toolbox,
    definition: &Definition,
    call: &ToolCall,
) -> Result<bool, String> {
    if !definition.tools.contains(&call.tool) {
        return Err(format!("this agent may not call {}", call.tool));
    }
    toolbox.validate(&call.tool, &call.arguments)?;
    Ok(toolbox.is_idempotent(&call.tool, &call.arguments))
}

/// Makes a call whose intent is stored.
pub(crate) async fn call(
    toolbox: &Toolbox,
    definition: &Definition,
    run: RunId,
    call: &ToolCall,
    patience: Patience<'_>,
) -> ToolOutcome {
    // The same in every attempt, on every worker.
    let idempotency_key = format!("{run}:{}", call.id);
    let invocation = ToolInvocation {
        tool: &call.tool,
        arguments: &call.arguments,
        allowed_tools: &definition.tools,
        allowed_hosts: &definition.allowed_hosts,
        idempotency_key: &idempotency_key,
    };
    let idempotent = toolbox.is_idempotent(&call.tool, &call.arguments);
    let mut attempt = 1;
    loop {
        match toolbox.call(invocation).await {
            Ok(value) => return ToolOutcome::Ok(value),
            Err(ToolError::Unavailable(_))
                if idempotent && patience.before_another(attempt).await =>
            {
                attempt += 1;
            }
            // The request may have arrived all the same. Nobody repeats it for the model; it is told so.
            Err(ToolError::Unavailable(why)) if !idempotent => {
                return ToolOutcome::Error(format!(
                    "{why}; the call may or may not have taken effect, and is not repeated"
                ));
            }
            Err(error) => return ToolOutcome::Error(error.to_string()),
        }
    }
}
