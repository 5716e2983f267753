//! What tests need: the whole platform in this process, accounts to act with, and other people's systems faked at the wire.

mod account;
mod answer;
mod app;
mod dynamodb_recorder;
pub mod fakes;

pub use account::Account;
pub use answer::Answer;
pub use app::{Request, TestApp};
pub use dynamodb_recorder::{Call, DynamoDbRecorder};
