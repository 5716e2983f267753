//! `signalbox`: runs `template.yaml` whole on this machine.
//!
//! [`template`] reads and evaluates the file. [`Platform`] starts what it declares: the AWS services that functions use,
//! embedded and on loopback ports; the functions' routers behind a gateway that answers like API Gateway; their queue
//! handlers behind event sources; their schedules. Functions know nothing of it: they get the environment that their
//! template block declares and talk to AWS through the SDK.

mod accounts;
mod administration;
mod bench;
mod child;
pub mod cli;
mod data_directory;
mod demo;
mod dynamodb_recorder;
mod embedded;
mod event_sources;
mod first_start;
mod functions;
mod gateway;
mod hosting;
mod invocation;
pub mod lambda_events;
mod network;
mod platform;
mod process;
pub mod runtime_api;
mod s3_recorder;
mod schedules;
pub mod template;

pub use dynamodb_recorder::{Access, Call, DynamoDbRecorder, caller};
pub use functions::{Registry, all_groups};
pub use lambda_events::Limits;
pub use platform::{Bootstraps, Data, Options, Platform, Proxy, TemplateSource, Upstream};
pub use s3_recorder::{S3Call, S3Recorder};
