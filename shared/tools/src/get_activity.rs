//! `get_activity`: what the agents of the workspace have done lately.

use llm::ToolSpec;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::toolbox::{ToolError, ToolInvocation};
use crate::workspace::Workspace;

/// A week.
const MAX_HOURS: u32 = 168;

pub(crate) fn spec() -> ToolSpec {
    ToolSpec {
        name: "get_activity".to_owned(),
        description: "What the other agents of this workspace have done in the last hours: runs completed and failed, by agent, \
                      with the latest result and the latest error of each."
            .to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "hours": { "type": "integer", "minimum": 1, "maximum": MAX_HOURS, "default": 24 }
            },
            "additionalProperties": false
        }),
        idempotent: true,
    }
}

#[derive(Deserialize)]
struct Arguments {
    hours: Option<u32>,
}

pub(crate) async fn call(
    workspace: Option<&dyn Workspace>,
    call: &ToolInvocation<'_>,
) -> Result<Value, ToolError> {
    let Arguments { hours } = Arguments::deserialize(call.arguments)
        .map_err(|error| ToolError::InvalidArguments(error.to_string()))?;
    let (Some(workspace), Some(by)) = (workspace, call.run) else {
        return Err(ToolError::NotAllowed(
            "activity can be asked for from a run only".to_owned(),
        ));
    };
    workspace
        .activity(by, hours.unwrap_or(24).min(MAX_HOURS))
        .await
}
