//! A function's `main`: start it from the environment and serve the Lambda Runtime API.

use std::collections::HashMap;
use std::future::Future;

use aws_lambda_events::sqs::SqsEvent;
use chrono::{DateTime, Utc};
use lambda_runtime::{Context, LambdaEvent, service_fn};
use serde_json::Value;

use crate::{Clock, Config, Error, Invocation, Lambda, Services, logging};

/// Builds the function from the process's environment and serves it until Lambda ends the process.
///
/// # Errors
/// A missing or unreadable variable, a secret that cannot be fetched, or a Runtime API that cannot be reached.
#[expect(clippy::disallowed_methods, reason = "this is what main does")]
pub async fn run<F, R>(build: F) -> Result<(), Error>
where
    F: FnOnce(Services) -> R,
    R: Future<Output = Result<Lambda, Error>>,
{
    let environment: HashMap<String, String> = std::env::vars().collect();
    logging::start(&environment);
    let services = Services::new(Config::from_map(&environment)?, Clock::system());
    match build(services).await? {
        Lambda::Http(router) => lambda_http::run(router).await,
        Lambda::Stream(router) => lambda_http::run_with_streaming_response(router).await,
        Lambda::Queue(handle) => {
            lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| {
                let response = handle(event.payload, invocation(&event.context));
                async move { Ok::<_, Error>(response.await) }
            }))
            .await
        }
        Lambda::Event(handle) => {
            lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
                handle(event.payload, invocation(&event.context))
            }))
            .await
        }
    }
}

fn invocation(context: &Context) -> Invocation {
    let deadline = i64::try_from(context.deadline)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    Invocation {
        deadline: deadline.unwrap_or(DateTime::<Utc>::MAX_UTC),
    }
}
