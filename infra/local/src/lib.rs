//! `signalbox`: runs `template.yaml` whole on this machine.
//!
//! [`template`] reads and evaluates the file. [`Platform`] starts what it declares: the AWS services that functions use,
//! embedded and on loopback ports; the functions' routers behind a gateway that answers like API Gateway; their queue
//! handlers behind event sources; their schedules. Functions know nothing of it: they get the environment that their
//! template block declares and talk to AWS through the SDK.

mod accounts;
pub mod administration;
pub mod child;
mod data_directory;
pub mod demo;
mod embedded;
mod event_sources;
pub mod first_start;
mod functions;
mod gateway;
mod hosting;
mod invocation;
pub mod lambda_events;
pub mod network;
mod platform;
pub mod process;
pub mod runtime_api;
mod schedules;
pub mod template;

pub use embedded::access_keys::owner as access_key_owner;
pub use embedded::sqs::Backlog;
pub use functions::{Registry, all_groups};
pub use lambda_events::Limits;
pub use platform::{Bootstraps, Data, Options, Platform, Proxy, TemplateSource, Upstream};
