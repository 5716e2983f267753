//! Runs a small template with small functions, and the command itself.

mod administration;
mod bootstraps;
mod canaries;
mod command;
mod fixture;
mod gateway;
mod platform;
mod presigned;
mod process;
mod queues;
mod recovery;
mod refusals;
mod runtime_api;
mod survival;
mod template;
mod unsigned;
