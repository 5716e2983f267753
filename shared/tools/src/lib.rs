//! Tools: [`ToolCatalog`] resolves their names for a caller, and [`call`] is the one way to call them.
//!
//! A tool is one file with one implementation of [`Tool`].

mod call;
mod calling_run;
mod catalog;
mod geocoding;
mod get_activity;
mod get_weather;
mod http_request;
mod settings;
#[cfg(test)]
mod testing;
mod tool;
mod trigger_agent;
mod workspace;

pub use call::call;
pub use calling_run::CallingRun;
pub use catalog::{ToolCatalog, ToolScope, ToolSet};
pub use settings::ToolSettings;
pub use tool::{Delegation, Tool, ToolError, ToolInvocation, ToolPermissions};
pub use workspace::{AgentCall, Workspace};
