//! The platform through HTTP, as its clients see it. Every test has a platform of its own.

mod account;
mod agents;
mod api_keys;
mod api_tokens;
mod audit_logs;
mod bad_input;
mod control;
mod cors;
mod credentials;
mod docs;
mod events;
mod executions;
mod large_values;
mod limits;
mod members;
mod models;
mod permissions;
mod round_trips;
mod schedules;
mod secrets;
mod signals;
mod template;
mod tenancy;
mod usage;
