//! The agent entity, its immutable versions, and validation of prompts and schedules.

mod catalog;
pub mod parameters;
pub mod triage;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::audit::Actor;
use crate::error::{FieldError, Result, all_valid};
use crate::ids::{AgentId, AgentVersionId, OrganizationId, WorkspaceId};
use crate::schedule::{self, Schedule};
use crate::text::{Description, Name};

pub use self::catalog::{AgentTemplate, AgentType};
pub use self::parameters::{ParameterKind, ParameterSpec, TOOLS, validate_parameters};

/// So many failures in a row disable an agent (AgentPlatform's notifications page).
pub const MAX_CONSECUTIVE_FAILURES: u32 = 5;

/// The largest set of prompts an agent may have.
pub const MAX_PROMPTS: usize = 50;

/// The largest parameters, and the largest prompts, in bytes of JSON.
pub const MAX_DEFINITION: usize = 100 * 1024;

/// The state of an agent, as its owner or the platform has set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Active,
    Paused,
    /// Failed too often in a row. Resuming clears it.
    Disabled,
}

/// A section of instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Prompt {
    pub title: Name,
    /// At most 20,000 characters.
    pub content: String,
}

/// An agent as it is now. What it does is in its current [`AgentVersion`], which this repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    pub id: AgentId,
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    pub name: Name,
    #[serde(default)]
    pub description: Description,
    pub agent_type: AgentType,
    pub parameters: Map<String, Value>,
    pub prompts: Vec<Prompt>,
    /// Five-field cron.
    pub schedule: Option<String>,
    /// IANA name.
    pub timezone: String,
    pub state: AgentState,
    pub consecutive_failures: u32,
    /// The version that new runs follow.
    pub version_id: AgentVersionId,
    /// Its number, from 1.
    pub version: u32,
    /// The highest number given so far: a new version gets the next.
    pub latest_version: u32,
    /// The next firing of the schedule; `None` without a schedule, or while the agent does not run by itself.
    pub next_run_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Counts writes of this row; a write names the one that it has seen.
    pub revision: u64,
}

impl Agent {
    /// The next firing of the schedule after `now`: never for an agent that is paused or disabled.
    pub fn next_firing(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let expression = self
            .schedule
            .as_deref()
            .filter(|_| self.state == AgentState::Active)?;
        let timezone = schedule::timezone(&self.timezone).ok()?;
        Schedule::parse(expression, timezone).ok()?.next_after(now)
    }
}

/// One state of an agent's definition. Never changed: a run started under it keeps to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentVersion {
    pub id: AgentVersionId,
    pub agent_id: AgentId,
    pub workspace_id: WorkspaceId,
    /// From 1.
    pub number: u32,
    pub agent_type: AgentType,
    pub name: Name,
    pub parameters: Map<String, Value>,
    pub prompts: Vec<Prompt>,
    pub created_by: Actor,
    pub created_at: DateTime<Utc>,
}

/// Checks an agent's schedule and time zone together; errors name `schedule` and `timezone`.
pub fn validate_schedule(
    expression: Option<&str>,
    timezone: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut errors = Vec::new();
    match (schedule::timezone(timezone), expression) {
        (Err(message), _) => errors.push(FieldError::new("timezone", message)),
        (Ok(zone), Some(expression)) => match Schedule::parse(expression, zone) {
            Err(message) => errors.push(FieldError::new("schedule", message)),
            Ok(schedule) if schedule.next_after(now).is_none() => {
                errors.push(FieldError::new("schedule", "never fires"))
            }
            Ok(_) => {}
        },
        (Ok(_), None) => {}
    }
    all_valid(errors)
}

/// Checks prompts; errors name `prompts[i].content`.
pub fn validate_prompts(prompts: &[Prompt]) -> Result<()> {
    let mut errors = Vec::new();
    if prompts.len() > MAX_PROMPTS {
        errors.push(FieldError::new(
            "prompts",
            format!("must have at most {MAX_PROMPTS} sections"),
        ));
    }
    for (index, prompt) in prompts.iter().enumerate() {
        if prompt.content.chars().count() > 20_000 {
            errors.push(FieldError::new(
                format!("prompts[{index}].content"),
                "must be at most 20000 characters",
            ));
        }
    }
    // As JSON, in which they are stored: control characters take six bytes there.
    if serde_json::to_vec(prompts).map_or(usize::MAX, |json| json.len()) > MAX_DEFINITION {
        errors.push(FieldError::new(
            "prompts",
            format!("must be at most {MAX_DEFINITION} bytes in all"),
        ));
    }
    all_valid(errors)
}
