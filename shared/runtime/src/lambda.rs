//! A function of ours, before a host runs it.

use std::future::Future;
use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use axum::Router;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde_json::Value;

/// The host's context of one invocation.
#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    /// The time when the host will stop waiting and freeze or end the process.
    pub deadline: DateTime<Utc>,
}

type QueueHandler =
    Arc<dyn Fn(SqsEvent, Invocation) -> BoxFuture<'static, SqsBatchResponse> + Send + Sync>;
type EventHandler =
    Arc<dyn Fn(Value, Invocation) -> BoxFuture<'static, Result<Value, crate::Error>> + Send + Sync>;

/// A function, by what invokes it.
#[derive(Clone)]
pub enum Lambda {
    /// API Gateway. Requests carry `lambda_http`'s `ApiGatewayV1` request context as an extension.
    Http(Router),
    /// API Gateway, for responses that reach the client as they are made. All of its routes are `RESPONSE_STREAM`: whatever
    /// such a function answers is streamed, errors too.
    Stream(Router),
    /// A queue's event source mapping with `ReportBatchItemFailures`.
    Queue(QueueHandler),
    /// Any other event: a schedule's input.
    Event(EventHandler),
}

impl Lambda {
    pub fn queue<F, R>(handler: F) -> Self
    where
        F: Fn(SqsEvent, Invocation) -> R + Send + Sync + 'static,
        R: Future<Output = SqsBatchResponse> + Send + 'static,
    {
        Self::Queue(Arc::new(move |event, invocation| {
            Box::pin(handler(event, invocation))
        }))
    }

    pub fn event<F, R>(handler: F) -> Self
    where
        F: Fn(Value, Invocation) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, crate::Error>> + Send + 'static,
    {
        Self::Event(Arc::new(move |event, invocation| {
            Box::pin(handler(event, invocation))
        }))
    }
}
