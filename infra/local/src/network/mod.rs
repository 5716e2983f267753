//! Connections to the ports of the platform, and the names that it answers to.

pub mod connections;
pub(crate) mod hosts;
