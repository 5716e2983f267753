//! The domain of Signalbox, free of AWS, HTTP and async: identifiers, entities, rules, errors and queue messages.
//!
//! Everything here is a value. The store persists it, the dialects of `web` give it an envelope, the engine moves it along.

pub mod access;
pub mod activity;
pub mod agent;
pub mod audit;
pub mod credential;
pub mod date;
pub mod deletion;
pub mod digest;
pub mod error;
pub mod identity;
pub mod ids;
pub mod message;
pub mod model;
pub mod page;
pub mod payload;
pub mod plan;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod text;
pub mod token;
pub mod usage;

pub use error::{Error, FieldError, Result};
