//! Runs a small template with small functions, and the command itself.

mod command;
mod fixture;
mod gateway;
mod platform;
mod queues;
mod template;
