//! The AWS services of this process, each on a loopback port of its own, behind an authenticator, and speaking AWS's wire protocol.

pub(crate) mod access_keys;
pub(crate) mod authenticator;
pub(crate) mod dynamodb;
mod dynamodb_tables;
mod dynamodb_wire;
pub(crate) mod forwarding;
mod message_groups;
pub(crate) mod passwords;
pub(crate) mod s3;
pub(crate) mod s3_authenticator;
pub(crate) mod secrets_manager;
pub(crate) mod sqs;
