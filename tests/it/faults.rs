//! The platform on a DynamoDB that throttles, hangs, refuses, loses answers and lags.

mod calls;
mod races;
mod registration;
mod roles;
mod runs;
mod ticks;

use testkit::{DynamoDbFaults, TestApp, in_this_process};

/// A platform behind `faults`, whose schedules a test runs itself.
async fn start(faults: &DynamoDbFaults) -> TestApp {
    start_with(faults, &[]).await
}

async fn start_with(faults: &DynamoDbFaults, parameters: &[(&str, &str)]) -> TestApp {
    let proxy = faults.proxy();
    TestApp::with(|options| {
        let options = local::Options {
            dynamodb_proxy: Some(proxy),
            schedules: false,
            ..in_this_process(options)
        };
        let parameters = parameters.iter();
        parameters.fold(options, |options, (name, value)| {
            options.parameter(*name, *value)
        })
    })
    .await
}
