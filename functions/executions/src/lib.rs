//! Executions: runs of agents, carried out and looked at.

pub mod dead_letters;
pub mod worker;

pub use dead_letters::dead_letters;
pub use worker::worker;
