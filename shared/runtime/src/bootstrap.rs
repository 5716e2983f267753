//! A function's `main`: start it from the environment and serve the Lambda Runtime API.

use std::collections::HashMap;
use std::future::Future;

use aws_lambda_events::sqs::SqsEvent;
use chrono::{DateTime, Utc};
use lambda_http::Adapter;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Context, LambdaEvent, LambdaInvocation, Runtime, Service, service_fn};
use serde_json::Value;
use tower::util::ThenLayer;

use crate::{BackgroundTasks, Clock, Config, Error, Invocation, Lambda, Services, logging};

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
    let background = services.background.clone();
    match build(services).await? {
        Lambda::Http(router) => serve(Runtime::new(Adapter::from(router)), background).await,
        Lambda::Stream(router) => serve(lambda_http::streaming_runtime(router), background).await,
        Lambda::Queue(handle) => {
            let handle = service_fn(move |event: LambdaEvent<SqsEvent>| {
                let response = handle(event.payload, invocation(&event.context));
                async move { Ok::<_, Error>(response.await) }
            });
            serve(Runtime::new(handle), background).await
        }
        Lambda::Event(handle) => {
            let handle = service_fn(move |event: LambdaEvent<Value>| {
                handle(event.payload, invocation(&event.context))
            });
            serve(Runtime::new(handle), background).await
        }
    }
}

/// Asks for events and answers them. What was put off is done between an answer and the next event.
///
/// A layer ends once the response is posted, which is when its caller gets it, and Lambda freezes the process only when it asks
/// for its next event. So no extension is needed, which would have to be registered in every cold start.
async fn serve<S>(runtime: Runtime<S>, background: BackgroundTasks) -> Result<(), Error>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
{
    let finish = ThenLayer::new(move |posted| {
        let background = background.clone();
        async move {
            background.drain().await;
            posted
        }
    });
    let runtime = runtime.layer(TracingLayer::new()).layer(finish);
    runtime.run().await
}

fn invocation(context: &Context) -> Invocation {
    let deadline = i64::try_from(context.deadline)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    Invocation {
        deadline: deadline.unwrap_or(DateTime::<Utc>::MAX_UTC),
    }
}
