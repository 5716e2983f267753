//! The Lambda Runtime API: runs the real binary of a function as Lambda would, and invokes it.
//!
//! [`Bootstrap`] is a started binary. What to invoke it with: [`RestRequest`] makes the event of a request that came
//! through API Gateway and [`RestResponse`] reads what it was answered; [`sqs_event`] makes the event of queue messages.

mod bootstrap;
mod child;
mod error;
mod invocation_channel;
mod invocation_response;
mod log;
mod queue;
mod rest;
mod server;

pub(crate) use bootstrap::find_binary;
pub use bootstrap::{Bootstrap, FirstNext};
pub use error::{BootstrapError, FunctionError};
pub(crate) use invocation_response::{InvocationResponse, ResponseStream};
pub use queue::{QueueMessage, sqs_event};
pub use rest::{RestRequest, RestResponse};
pub(crate) use server::{PAYLOAD_LIMIT, RuntimeApi};
