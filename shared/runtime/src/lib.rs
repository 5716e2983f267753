//! The layer between a function of ours and its host: configuration, AWS clients, secrets, the clock, queue batches and the
//! Lambda bootstrap.
//!
//! A function is built from [`Services`] and is a [`Lambda`]. In AWS, [`bootstrap::run`] serves it to the Lambda Runtime
//! API; on a developer's machine `signalbox local` mounts the very same value behind its gateway.

pub mod aws_prices;
pub mod background_tasks;
pub mod bootstrap;
pub mod clock;
pub mod config;
pub mod lambda;
pub mod logging;
pub mod queue;
pub mod queue_batch;
mod retries;
pub mod secrets;
pub mod services;

pub use background_tasks::BackgroundTasks;
pub use clock::Clock;
pub use config::{Config, ConfigError};
pub use lambda::{Invocation, Lambda};
pub use queue::Queue;
pub use secrets::{MasterKey, MasterKeys, Secrets};
pub use services::Services;

/// The allocator of every program of ours. glibc's arenas are contended where many threads allocate and free, and keep what a burst
/// of requests has used.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The reason why a function could not start or serve.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
