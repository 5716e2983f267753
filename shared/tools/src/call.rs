//! The one way to call a tool.

use serde_json::Value;

use crate::catalog::{ToolSet, unknown};
use crate::tool::{ToolError, ToolInvocation};

/// Calls a tool once: permission first, then the arguments, then the effect.
///
/// # Errors
/// The reason why there is no result.
pub async fn call(tools: &ToolSet, call: &ToolInvocation<'_>) -> Result<Value, ToolError> {
    let tool = tools
        .find(call.tool)
        .ok_or_else(|| ToolError::NotAllowed(unknown(call.tool)))?;
    if !call.permissions.tools.iter().any(|name| name == call.tool) {
        return Err(ToolError::NotAllowed(format!(
            "this agent may not call {}",
            call.tool
        )));
    }
    tool.validate(call.arguments)
        .map_err(ToolError::InvalidArguments)?;
    tool.tool().call(call).await
}

#[cfg(test)]
mod tests {
    use outbound::OutboundClient;
    use serde_json::json;

    use super::*;
    use crate::testing::{catalog, resolve_all};
    use crate::{ToolPermissions, ToolSettings};

    fn settings() -> ToolSettings {
        ToolSettings {
            outbound: OutboundClient::new(false),
            geocoding_url: String::new(),
            forecast_url: String::new(),
        }
    }

    #[tokio::test]
    async fn the_tools_are_those_that_an_agent_may_be_allowed() {
        let names = domain::agent::TOOLS.map(str::to_owned);
        let specs = resolve_all(&catalog(settings())).await.specs();
        let known: Vec<_> = specs.into_iter().map(|spec| spec.name).collect();
        assert_eq!(known, names);
    }

    #[tokio::test]
    async fn a_wrong_argument_is_named_and_not_repeated() {
        let tools = resolve_all(&catalog(settings())).await;
        for (arguments, expected) in [
            (json!({}), "\"location\" is a required property"),
            (
                json!({ "location": "x", "units": "kelvin" }),
                "units: value is not one of \"metric\" or \"imperial\"",
            ),
            (
                json!({ "location": 7 }),
                "location: value is not of type \"string\"",
            ),
            (json!([]), "value is not of type \"object\""),
            (
                json!({ "location": 7, "units": "kelvin" }),
                "location: value is not of type \"string\"; units: value is not one of \"metric\" or \"imperial\"",
            ),
            (
                json!({ "location": 7, "units": "x".repeat(10_000) }),
                "location: value is not of type \"string\"",
            ),
        ] {
            assert_eq!(
                tools.validate("get_weather", &arguments).unwrap_err(),
                expected
            );
        }
        assert_eq!(
            tools.validate("rm", &json!({})).unwrap_err(),
            "there is no tool called rm"
        );
    }

    #[tokio::test]
    async fn a_tool_that_the_agent_may_not_call_is_not_called() {
        let tools = resolve_all(&catalog(settings())).await;
        let permissions = ToolPermissions {
            tools: vec!["http_request".to_owned()],
            ..ToolPermissions::default()
        };
        for (tool, expected) in [
            ("get_weather", "this agent may not call get_weather"),
            ("rm", "there is no tool called rm"),
        ] {
            let invocation = ToolInvocation {
                tool,
                arguments: &json!({ "location": "Bern" }),
                permissions: &permissions,
                run: None,
                idempotency_key: "k",
            };
            assert_eq!(
                call(&tools, &invocation).await,
                Err(ToolError::NotAllowed(expected.to_owned()))
            );
        }
    }
}
