//! What an agent may call: [`Toolbox`] describes, checks and calls tools.

mod get_weather;
mod http_request;
mod place;
mod toolbox;
#[cfg(test)]
mod wire;

pub use toolbox::{ToolError, ToolInvocation, ToolSettings, Toolbox};
