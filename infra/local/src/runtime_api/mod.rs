//! The Lambda Runtime API: runs the real binary of a function as Lambda would, and invokes it.
//!
//! [`Bootstrap`] is a started binary. What to invoke it with: [`crate::lambda_events`].

mod bootstrap;
mod child;
mod error;
mod invocation_channel;
mod invocation_response;
mod log;
mod server;

pub use bootstrap::find_binary;
pub use bootstrap::{Bootstrap, FirstNext};
pub use error::{BootstrapError, FunctionError};
pub(crate) use invocation_response::{InvocationResponse, PAYLOAD_LIMIT, ResponseStream};
pub(crate) use server::RuntimeApi;
