//! Asking models and calling tools, with patience for those that are not available just now.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::model::ModelName;
use domain::payload::MAX_DEPTH;
use domain::run::{ToolCall, ToolOutcome};
use llm::extractive::Extractive;
use llm::{Model, ModelError, ModelRequest, ModelResponse};
use rand::RngExt;
use runtime::Clock;
use tokio::time::Instant;
use tools::{CallingRun, Delegation, ToolError, ToolInvocation, ToolPermissions, ToolSet};

use crate::definition::Definition;
use crate::model_choice::ModelChoice;
use crate::models::Models;
use crate::provider_keys::Tenant;
use crate::stream_buffer::StreamBuffer;

/// The number of times that something unavailable is tried.
const ATTEMPTS: u32 = 3;
/// The time that a provider may ask to be left alone while there is another model to ask.
const SHORT_WAIT: Duration = Duration::from_secs(5);
/// The time that a worker keeps for the writes after a model's answer.
const RESERVE: TimeDelta = TimeDelta::seconds(10);
/// With less time than this left for an answer, a model is not asked again.
const MIN_ANSWER: Duration = Duration::from_secs(5);
/// The time that one call may take: two requests at their time limit, and the writes around them.
const CALL_TIME: TimeDelta = TimeDelta::seconds(40);

/// The deadlines of this worker and of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines<'a> {
    pub(crate) clock: &'a Clock,
    /// The time when the worker's host ends it.
    pub(crate) deadline: DateTime<Utc>,
    /// The end of the run's own time, once that is known.
    pub(crate) run_ends: Option<Instant>,
}

impl Deadlines<'_> {
    /// Returns `true` if there is time for another call. One that the host cuts short would have an unknown outcome.
    pub(crate) fn is_left(self) -> bool {
        self.deadline - self.clock.now() >= CALL_TIME
    }

    /// Returns `true` if there is time to ask a model that may take `timeout`, and for what follows its answer.
    pub(crate) fn is_left_for(self, timeout: Duration) -> bool {
        let rest = self.deadline - self.clock.now() - RESERVE;
        self.is_left() && rest.to_std().unwrap_or_default() >= timeout
    }

    /// Returns `true` if the run has taken as long as it may.
    pub(crate) fn run_is_over(self) -> bool {
        self.rest_of_run().is_zero()
    }

    /// The rest of the run's own time.
    pub(crate) fn rest_of_run(self) -> Duration {
        let rest = self.run_ends.map(|end| end - Instant::now());
        rest.unwrap_or(Duration::MAX)
    }

    /// The most time that a model may take.
    fn rest(self) -> Duration {
        let rest = self.deadline - self.clock.now() - RESERVE;
        let rest = rest.to_std().unwrap_or_default();
        rest.min(self.rest_of_run())
    }

    /// Waits for the next attempt; `false` when there is none.
    async fn before_another(self, attempt: u32) -> bool {
        if attempt == ATTEMPTS {
            return false;
        }
        tokio::time::sleep(pause(attempt)).await;
        self.is_left()
    }
}

/// The time to wait after the attempt of this number, so that those who failed together do not come back together.
fn pause(attempt: u32) -> Duration {
    let longest = 500 << attempt;
    Duration::from_millis(rand::rng().random_range(longest / 2..=longest))
}

/// The answer of the first model that gives one; the inner error is the text that ends the run.
///
/// # Errors
/// `Unavailable` when a key cannot be read now.
pub(crate) async fn ask(
    models: &Models,
    tenant: Tenant,
    choice: &ModelChoice,
    request: &ModelRequest,
    buffer: &StreamBuffer,
    deadlines: Deadlines<'_>,
) -> domain::Result<Result<ModelResponse, String>> {
    if let Some(directives) = &choice.directives {
        let request = ModelRequest {
            instructions: directives.clone(),
            ..request.clone()
        };
        let answer = Extractive.answer(&request);
        if !answer.tool_calls.is_empty() {
            return Ok(Ok(answer));
        }
    }
    let mut failures = Vec::new();
    let names = choice.names();
    let last = names.len();
    for (position, name) in names.enumerate() {
        let model = models.find(tenant, name, choice.credential_id);
        let answer = match model.await? {
            Ok(found) => {
                let is_last = position + 1 == last;
                // Those behind it shall have their time too.
                let share = deadlines.rest() / u32::try_from(last - position).unwrap_or(1);
                let one = Asked {
                    name,
                    model: &found.model,
                    limit: models.timeout.min(share),
                    is_last,
                };
                let answer = Box::pin(ask_one(one, request, buffer, deadlines)).await;
                models.remember(tenant, name, &found).await;
                answer
            }
            Err(why) => Err(why),
        };
        match answer {
            Ok(answer) => return Ok(Ok(answer)),
            Err(why) => {
                tracing::info!(model.name = %name, model.is_last = position + 1 == last, "model did not answer");
                failures.push(format!("{name}: {why}"));
            }
        }
    }
    Ok(Err(failures.join("; ")))
}

/// A model among those that a run may ask.
struct Asked<'a> {
    name: &'a ModelName,
    model: &'a Model,
    /// The time that it may take for one answer.
    limit: Duration,
    is_last: bool,
}

async fn ask_one(
    asked: Asked<'_>,
    request: &ModelRequest,
    buffer: &StreamBuffer,
    deadlines: Deadlines<'_>,
) -> Result<ModelResponse, String> {
    let Asked {
        name,
        model,
        limit,
        is_last,
    } = asked;
    let mut attempt = 1;
    loop {
        let timeout = limit.min(deadlines.rest());
        buffer.asked(name);
        let mut on_text = |text: &str| buffer.text(text);
        let (why, retry_after) = match model.answer(request, timeout, &mut on_text).await {
            Ok(answer) => return Ok(answer),
            Err(ModelError::Refused(why)) => return Err(why),
            Err(ModelError::Unavailable { why, retry_after }) => (why, retry_after),
        };
        let wanted = retry_after.unwrap_or_default();
        let wait = wanted + pause(attempt);
        // The next model shall have its time too.
        let kept = if is_last { MIN_ANSWER } else { limit };
        let is_too_long = wait + kept > deadlines.rest() || (!is_last && wanted > SHORT_WAIT);
        if attempt == ATTEMPTS || is_too_long {
            let asked = retry_after.map(|wait| format!(", and asks to wait {} s", wait.as_secs()));
            return Err(format!("{why}{}", asked.unwrap_or_default()));
        }
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

/// Returns `true` if the run may make this call, and if so, whether it may be repeated. `before`: how many calls of this tool the run asked
/// for before; `max_children`: how many runs it may start. The error is for the model.
pub(crate) fn check(
    tools: &ToolSet,
    definition: &Definition,
    call: &ToolCall,
    before: usize,
    max_children: usize,
) -> Result<bool, String> {
    if !definition.tools.contains(&call.tool) {
        return Err(format!("this agent may not call {}", call.tool));
    }
    let delegation = tools
        .get(&call.tool)
        .map(|tool| tool.delegation(&call.arguments));
    let starts_a_run = delegation.is_some_and(|delegation| delegation != Delegation::None);
    if starts_a_run && before >= max_children {
        return Err(format!(
            "this run may start {max_children} others, and has tried so many"
        ));
    }
    if !call.arguments.is_object() {
        return Err(format!(
            "the arguments are not a JSON object of at most {MAX_DEPTH} levels"
        ));
    }
    tools.validate(&call.tool, &call.arguments)?;
    Ok(is_idempotent(tools, call))
}

fn is_idempotent(tools: &ToolSet, call: &ToolCall) -> bool {
    let tool = tools.get(&call.tool);
    tool.is_some_and(|tool| tool.is_idempotent(&call.arguments))
}

/// The permissions of a run's calls.
pub(crate) fn permissions(definition: &Definition) -> ToolPermissions {
    ToolPermissions {
        tools: definition.tools.clone(),
        hosts: definition.allowed_hosts.clone(),
        agents: definition.allowed_agents.clone(),
    }
}

/// Makes a call whose intent is stored.
pub(crate) async fn call(
    tools: &ToolSet,
    permissions: &ToolPermissions,
    run: &CallingRun,
    call: &ToolCall,
    deadlines: Deadlines<'_>,
) -> ToolOutcome {
    // The same in every attempt, on every worker.
    let idempotency_key = format!("{}:{}", run.id, call.id);
    let invocation = ToolInvocation {
        tool: &call.tool,
        arguments: &call.arguments,
        permissions,
        run: Some(run),
        idempotency_key: &idempotency_key,
    };
    let idempotent = is_idempotent(tools, call);
    let mut attempt = 1;
    loop {
        match Box::pin(tools::call(tools, &invocation)).await {
            Ok(value) => return ToolOutcome::Ok(value),
            Err(ToolError::Unavailable(_) | ToolError::Unanswered(_))
                if idempotent && deadlines.before_another(attempt).await =>
            {
                attempt += 1;
            }
            // The request has arrived, or may have. It is not repeated, and the model is told so.
            Err(ToolError::Unanswered(why) | ToolError::Unusable(why)) if !idempotent => {
                return ToolOutcome::Error(format!(
                    "{why}; the call may or may not have taken effect, and is not repeated"
                ));
            }
            Err(error) => return ToolOutcome::Error(error.to_string()),
        }
    }
}
