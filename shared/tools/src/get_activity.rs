//! `get_activity`: what the agents of the workspace have done lately.

use std::sync::Arc;

use futures::future::BoxFuture;
use llm::ToolSpec;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::tool::{Tool, ToolError, ToolInvocation};
use crate::workspace::Workspace;

/// A week.
const MAX_HOURS: u32 = 168;

pub(crate) struct GetActivity {
    spec: ToolSpec,
    workspace: Arc<dyn Workspace>,
}

impl GetActivity {
    pub(crate) fn new(workspace: Arc<dyn Workspace>) -> Self {
        Self {
            spec: spec(),
            workspace,
        }
    }
}

impl Tool for GetActivity {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn call<'a>(&'a self, call: &'a ToolInvocation<'a>) -> BoxFuture<'a, Result<Value, ToolError>> {
        Box::pin(activity(&*self.workspace, call))
    }
}

fn spec() -> ToolSpec {
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

async fn activity(
    workspace: &dyn Workspace,
    call: &ToolInvocation<'_>,
) -> Result<Value, ToolError> {
    let Arguments { hours } = Arguments::deserialize(call.arguments)
        .map_err(|error| ToolError::InvalidArguments(error.to_string()))?;
    let Some(by) = call.run else {
        return Err(ToolError::NotAllowed(
            "activity can be asked for from a run only".to_owned(),
        ));
    };
    workspace
        .activity(by, hours.unwrap_or(24).min(MAX_HOURS))
        .await
}
