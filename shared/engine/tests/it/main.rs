//! Runs, carried out against a real DynamoDB protocol and a tool server on the wire.

mod delegation;
mod places;
mod platform;
mod recovery;
mod runs;
mod showing;
mod starting;
