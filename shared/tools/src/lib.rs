//! What an agent may call, and the one HTTP client that everything which talks out goes through.
//!
//! [`Toolbox`] describes, checks and calls tools. [`OutboundClient`] is for other code of ours that reaches a
//! host which a user has named.

mod address;
mod get_weather;
mod http_request;
mod outbound;
mod place;
mod toolbox;
#[cfg(test)]
mod wire;

pub use outbound::{OutboundClient, OutboundError, OutboundRequest, OutboundResponse};
pub use toolbox::{ToolError, ToolInvocation, ToolSettings, Toolbox};
