//! All tools behind one door: what a model is told of them, the check of its arguments, the call.

use std::sync::{Arc, OnceLock};

use jsonschema::Validator;
use llm::ToolSpec;
use serde_json::Value;

use crate::workspace::{CallingRun, Workspace};
use crate::{get_activity, get_weather, http_request, trigger_agent};
use outbound::{OutboundClient, OutboundError};

/// Up to this size all that is wrong with a call's arguments is told, in bytes of JSON; of larger ones the first that is found.
const MAX_EXPLAINED: usize = 4096;

/// Where tools find what they need.
#[derive(Clone, Debug)]
pub struct ToolSettings {
    /// What they talk out with.
    pub outbound: OutboundClient,
    /// Base of Open-Meteo's geocoding API, without a trailing slash.
    pub geocoding_url: String,
    /// Base of Open-Meteo's forecast API, without a trailing slash.
    pub forecast_url: String,
}

/// One call, with what the agent is allowed.
#[derive(Clone, Copy, Debug)]
pub struct ToolInvocation<'a> {
    pub tool: &'a str,
    pub arguments: &'a Value,
    /// The tools that the agent may call.
    pub allowed_tools: &'a [String],
    /// The hosts that `http_request` may reach: `example.com`, `example.com:8443`, `*.example.com`.
    pub allowed_hosts: &'a [String],
    /// The agents that `trigger_agent` may start, by id; `*` for any of the workspace.
    pub allowed_agents: &'a [String],
    /// The run that calls; tools that act in its workspace do nothing without.
    pub run: Option<&'a CallingRun>,
    /// The same for every attempt at this call, and for no other call.
    pub idempotency_key: &'a str,
}

/// Why a call has no result. The texts are for the model and for people: they carry no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The arguments do not fit the tool's schema; nothing was called.
    #[error("{0}")]
    InvalidArguments(String),
    /// The tool does not exist, or the agent may not do this; nothing was called.
    #[error("{0}")]
    NotAllowed(String),
    /// It was tried and will not work.
    #[error("{0}")]
    Failed(String),
    /// The other side was not reached: nothing has happened there. A later attempt may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The request was sent, and the answer did not come, or not whole: it may have taken effect. A later attempt may succeed;
    /// [`Toolbox::is_idempotent`] says whether one is safe.
    #[error("{0}")]
    Unanswered(String),
    /// The request was sent and answered, and the answer cannot be used. It may have taken effect.
    #[error("{0}")]
    Unusable(String),
}

impl From<OutboundError> for ToolError {
    fn from(error: OutboundError) -> Self {
        let text = error.to_string();
        match error {
            OutboundError::Refused(_) => Self::NotAllowed(text),
            OutboundError::TooLarge(_) => Self::Unusable(text),
            error if error.sent() => Self::Unanswered(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// The tools of this platform. Cheap to clone and to make: connections and schemas are set up when first needed.
#[derive(Clone)]
pub struct Toolbox {
    settings: Arc<ToolSettings>,
    outbound: OutboundClient,
    workspace: Option<Arc<dyn Workspace>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    GetWeather,
    HttpRequest,
    TriggerAgent,
    GetActivity,
}

impl Tool {
    const ALL: [Self; 4] = [
        Self::GetWeather,
        Self::HttpRequest,
        Self::TriggerAgent,
        Self::GetActivity,
    ];

    fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::GetWeather => "get_weather",
            Self::HttpRequest => "http_request",
            Self::TriggerAgent => "trigger_agent",
            Self::GetActivity => "get_activity",
        }
    }

    fn spec(self) -> ToolSpec {
        match self {
            Self::GetWeather => get_weather::spec(),
            Self::HttpRequest => http_request::spec(),
            Self::TriggerAgent => trigger_agent::spec(),
            Self::GetActivity => get_activity::spec(),
        }
    }

    fn validator(self) -> &'static Validator {
        static VALIDATORS: [OnceLock<Validator>; Tool::ALL.len()] =
            [const { OnceLock::new() }; Tool::ALL.len()];
        VALIDATORS[self as usize].get_or_init(|| {
            jsonschema::validator_for(&self.spec().input_schema)
                .expect("the schemas of our own tools compile")
        })
    }

    fn validate(self, arguments: &Value) -> Result<(), String> {
        let validator = self.validator();
        if validator.is_valid(arguments) {
            return Ok(());
        }
        // Every error takes up memory, and large arguments may be wrong in every part.
        let errors = if arguments.to_string().len() > MAX_EXPLAINED {
            Vec::from_iter(validator.validate(arguments).err())
        } else {
            validator.iter_errors(arguments).collect()
        };
        let mut messages = Vec::new();
        for error in errors {
            let path = error
                .instance_path()
                .as_str()
                .trim_start_matches('/')
                .replace('/', ".");
            // Masked: an argument may be long, or a secret.
            let fault = error.masked();
            messages.push(if path.is_empty() {
                fault.to_string()
            } else {
                format!("{path}: {fault}")
            });
        }
        Err(messages.join("; "))
    }
}

impl Toolbox {
    pub fn new(settings: ToolSettings) -> Self {
        Self {
            outbound: settings.outbound.clone(),
            settings: Arc::new(settings),
            workspace: None,
        }
    }

    /// Lets the tools that act in the workspace of their run do so.
    #[must_use]
    pub fn with_workspace(self, workspace: Arc<dyn Workspace>) -> Self {
        Self {
            workspace: Some(workspace),
            ..self
        }
    }

    /// What a model is told of the tools of these names, in this order. Unknown names are left out.
    pub fn specs(&self, names: &[String]) -> Vec<ToolSpec> {
        names
            .iter()
            .filter_map(|name| Tool::find(name))
            .map(Tool::spec)
            .collect()
    }

    /// Whether `arguments` fit the tool. The text names the argument that does not.
    pub fn validate(&self, tool: &str, arguments: &Value) -> Result<(), String> {
        Tool::find(tool)
            .ok_or_else(|| unknown(tool))?
            .validate(arguments)
    }

    /// Whether this call may be repeated, under the same idempotency key, when its outcome is unknown.
    pub fn is_idempotent(&self, tool: &str, arguments: &Value) -> bool {
        match Tool::find(tool) {
            // A run is started under an id that the call alone determines.
            Some(Tool::GetWeather | Tool::TriggerAgent | Tool::GetActivity) => true,
            Some(Tool::HttpRequest) => http_request::is_idempotent(arguments),
            None => false,
        }
    }

    /// Calls a tool once: permission first, then the arguments, then the effect.
    pub async fn call(&self, call: ToolInvocation<'_>) -> Result<Value, ToolError> {
        let tool =
            Tool::find(call.tool).ok_or_else(|| ToolError::NotAllowed(unknown(call.tool)))?;
        if !call.allowed_tools.iter().any(|name| name == call.tool) {
            return Err(ToolError::NotAllowed(format!(
                "this agent may not call {}",
                call.tool
            )));
        }
        tool.validate(call.arguments)
            .map_err(ToolError::InvalidArguments)?;
        match tool {
            Tool::GetWeather => {
                get_weather::call(&self.outbound, &self.settings, call.arguments).await
            }
            Tool::HttpRequest => http_request::call(&self.outbound, &call).await,
            Tool::TriggerAgent => trigger_agent::call(self.workspace.as_deref(), &call).await,
            Tool::GetActivity => get_activity::call(self.workspace.as_deref(), &call).await,
        }
    }
}

impl std::fmt::Debug for Toolbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Toolbox")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn unknown(tool: &str) -> String {
    format!(
        "there is no tool called {}",
        tool.chars().take(100).collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn toolbox() -> Toolbox {
        Toolbox::new(ToolSettings {
            outbound: OutboundClient::new(false),
            geocoding_url: String::new(),
            forecast_url: String::new(),
        })
    }

    #[test]
    fn the_tools_are_those_that_an_agent_may_be_allowed() {
        let names = domain::agent::TOOLS.map(str::to_owned);
        let specs: Vec<_> = toolbox()
            .specs(&names)
            .into_iter()
            .map(|spec| spec.name)
            .collect();
        assert_eq!(specs, names);
    }

    #[test]
    fn a_wrong_argument_is_named_and_not_repeated() {
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
                toolbox().validate("get_weather", &arguments).unwrap_err(),
                expected
            );
        }
        assert_eq!(
            toolbox().validate("rm", &json!({})).unwrap_err(),
            "there is no tool called rm"
        );
    }

    #[tokio::test]
    async fn a_tool_that_the_agent_may_not_call_is_not_called() {
        for (tool, expected) in [
            ("get_weather", "this agent may not call get_weather"),
            ("rm", "there is no tool called rm"),
        ] {
            let call = ToolInvocation {
                tool,
                arguments: &json!({ "location": "Bern" }),
                allowed_tools: &["http_request".to_owned()],
                allowed_hosts: &[],
                allowed_agents: &[],
                run: None,
                idempotency_key: "k",
            };
            assert_eq!(
                toolbox().call(call).await,
                Err(ToolError::NotAllowed(expected.to_owned()))
            );
        }
    }
}
