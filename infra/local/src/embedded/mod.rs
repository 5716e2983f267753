//! The AWS services of this process, each on a loopback port of its own and speaking AWS's wire protocol.

pub(crate) mod connections;
pub(crate) mod dynamodb;
mod dynamodb_tables;
mod message_groups;
pub(crate) mod passwords;
pub(crate) mod s3;
pub(crate) mod secrets_manager;
pub(crate) mod sqs;
