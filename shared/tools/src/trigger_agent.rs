//! `trigger_agent`: a run of another agent of the same workspace.

use std::sync::Arc;

use futures::future::BoxFuture;
use llm::ToolSpec;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::tool::{Delegation, Tool, ToolError, ToolInvocation};
use crate::workspace::{AgentCall, Workspace};

pub(crate) struct TriggerAgent {
    spec: ToolSpec,
    workspace: Arc<dyn Workspace>,
}

impl TriggerAgent {
    pub(crate) fn new(workspace: Arc<dyn Workspace>) -> Self {
        Self {
            spec: spec(),
            workspace,
        }
    }
}

impl Tool for TriggerAgent {
    /// Its calls are idempotent, since a run is started under an id that the call alone determines.
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn delegation(&self, arguments: &Value) -> Delegation {
        if arguments["wait"] == true {
            Delegation::Waits
        } else {
            Delegation::Starts
        }
    }

    fn call<'a>(&'a self, call: &'a ToolInvocation<'a>) -> BoxFuture<'a, Result<Value, ToolError>> {
        Box::pin(trigger(&*self.workspace, call))
    }
}

fn spec() -> ToolSpec {
    ToolSpec {
        name: "trigger_agent".to_owned(),
        description: "Starts a run of another agent of this workspace. Answers with the run's id at once; with `wait`, with the \
                      run's result if it ends within 10 seconds."
            .to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "agent": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 200,
                    "description": "The agent's id, or its exact name."
                },
                "input": {
                    "type": ["object", "string"],
                    "description": "What the run is given; a text becomes {\"text\": …}."
                },
                "wait": { "type": "boolean", "default": false }
            },
            "required": ["agent"],
            "additionalProperties": false
        }),
        idempotent: true,
    }
}

#[derive(Deserialize)]
struct Arguments {
    agent: String,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    wait: bool,
}

async fn trigger(workspace: &dyn Workspace, call: &ToolInvocation<'_>) -> Result<Value, ToolError> {
    let Arguments { agent, input, wait } = Arguments::deserialize(call.arguments)
        .map_err(|error| ToolError::InvalidArguments(error.to_string()))?;
    let Some(by) = call.run else {
        return Err(ToolError::NotAllowed(
            "agents can be started from a run only".to_owned(),
        ));
    };
    if call.permissions.agents.is_empty() {
        return Err(ToolError::NotAllowed(
            "this agent may start no other: its allowed_agents names none".to_owned(),
        ));
    }
    let input = match input {
        Value::Null => json!({}),
        Value::String(text) => json!({ "text": text }),
        other => other,
    };
    let call = AgentCall {
        by,
        agent: &agent,
        allowed: &call.permissions.agents,
        input,
        wait,
        key: call.idempotency_key,
    };
    workspace.trigger(call).await
}
