//! What an agent may call: [`Toolbox`] describes, checks and calls tools.

mod get_activity;
mod get_weather;
mod http_request;
mod place;
mod toolbox;
mod trigger_agent;
#[cfg(test)]
mod wire;
mod workspace;

pub use toolbox::{ToolError, ToolInvocation, ToolSettings, Toolbox};
pub use workspace::{AgentCall, CallingRun, Workspace};
