//! Support for tests: the whole platform in this process, accounts to act with, other people's systems faked at the wire, and a
//! DynamoDB with injected faults.

mod account;
mod app;
mod bootstraps;
mod dynamodb_faults;
mod eventually;
pub mod fakes;
mod fixture;
mod lambda;
mod lost_answers;
mod test_response;

pub use account::Account;
pub use app::{Request, TestApp};
pub use bench::{Access, Call, DynamoDbRecorder, S3Call, S3Recorder};
pub use bootstraps::in_this_process;
pub use dynamodb_faults::{Calls, DynamoDbFaults, Fault, Held, Injected};
pub use eventually::{eventually, eventually_some};
pub use fixture::Fixture;
pub use lambda::TestFunction;
pub use local::lambda_events::{QueueMessage, RestRequest};
pub use test_response::TestResponse;
