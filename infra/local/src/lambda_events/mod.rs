//! Events as functions get them, and what of their responses leaves the gateway: API Gateway's proxy events and batches of SQS.
//!
//! [`RestRequest`] makes the event of a request that came through API Gateway and [`RestResponse`] reads what it was answered;
//! [`sqs_event`] makes the event of queue messages.

pub(crate) mod context;
pub(crate) mod limits;
pub(crate) mod proxy;
mod queue;
mod rest;

pub use limits::Limits;
pub use queue::{QueueMessage, sqs_event};
pub use rest::{RestRequest, RestResponse};
