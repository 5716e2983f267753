//! The platform on a DynamoDB that throttles, hangs, refuses, loses answers and lags.

mod calls;
mod races;
mod registration;
mod roles;
mod runs;
mod ticks;

use local::Options;
use testkit::{DynamoDbFaults, TestApp, in_this_process};

/// A platform behind `faults`, whose schedules a test runs itself.
async fn start(faults: &DynamoDbFaults) -> TestApp {
    start_with(faults, &[]).await
}

async fn start_with(faults: &DynamoDbFaults, parameters: &[(&str, &str)]) -> TestApp {
    TestApp::with(|options| with_faults(options, faults, parameters)).await
}

/// Functions in this process, whose calls of DynamoDB go through `faults`.
fn with_faults(options: Options, faults: &DynamoDbFaults, parameters: &[(&str, &str)]) -> Options {
    let options = Options {
        dynamodb_proxy: Some(faults.proxy()),
        schedules: false,
        ..in_this_process(options)
    };
    let parameters = parameters.iter();
    parameters.fold(options, |options, (name, value)| {
        options.parameter(*name, *value)
    })
}
