//! SQS by rustack. Messages live in memory and are gone with the process; the due index finds the work that they stood for.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response};
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::body::SqsResponseBody;
use rustack_sqs_http::dispatch::dispatch_operation;
use rustack_sqs_http::response::{CONTENT_TYPE, error_to_response};
use rustack_sqs_http::router::resolve_operation;
use rustack_sqs_model::input::{CreateQueueInput, GetQueueAttributesInput};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::authenticator::{Authenticator, Protocol};
use super::message_groups::without_groups;
use crate::template::{ACCOUNT_ID, Queue, REGION};

/// Ten messages to a request, and what is around them.
pub(crate) const PROTOCOL: Protocol = Protocol {
    service: "sqs",
    largest_body: 4 * 1024 * 1024,
};
/// The largest message that rustack can hold. AWS takes four times that.
const LARGEST_MESSAGE: u32 = 256 * 1024;
/// The attributes that count a queue's messages: those that wait, those that a function has, and those that come later.
const MESSAGE_COUNTS: [&str; 3] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
];
/// The time that requests may still run after the stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The queues of this process. Event sources ask them directly, functions over the wire.
pub(crate) type Queues = Arc<RustackSqs>;

/// Creates the queues.
pub(crate) async fn create(address: SocketAddr, queues: &[Queue]) -> anyhow::Result<Queues> {
    let provider = RustackSqs::new(SqsConfig {
        // The authenticator has done that.
        skip_signature_validation: true,
        default_region: REGION.to_owned(),
        account_id: ACCOUNT_ID.to_owned(),
        host: address.ip().to_string(),
        port: address.port(),
    });
    for queue in queues {
        let input = CreateQueueInput {
            queue_name: queue.name.clone(),
            attributes: attributes(queue),
            ..CreateQueueInput::default()
        };
        provider
            .create_queue(input)
            .await
            .map_err(|error| anyhow!("queue {} cannot be created: {error}", queue.name))?;
    }
    Ok(Arc::new(provider))
}

/// The messages of a platform's queues.
#[derive(Clone)]
pub struct Backlog {
    runtime: Handle,
    queues: Queues,
    /// Logical ids and URLs.
    urls: Vec<(String, String)>,
}

impl Backlog {
    pub(crate) fn new(runtime: Handle, queues: Queues, urls: Vec<(String, String)>) -> Self {
        Self {
            runtime,
            queues,
            urls,
        }
    }

    /// The number of messages in each queue that has any, by the queue's logical id: those that wait, and those that a function is
    /// processing. Blocks the thread for as long as the queues take to answer; a platform that has ended has none.
    pub fn count(&self) -> BTreeMap<String, usize> {
        let (answer, answered) = std::sync::mpsc::channel();
        let this = self.clone();
        self.runtime.spawn(async move {
            let mut counts = BTreeMap::new();
            for (id, url) in &this.urls {
                let count = this.count_of(url).await;
                if count > 0 {
                    counts.insert(id.clone(), count);
                }
            }
            // The asker has gone when the channel is closed.
            answer.send(counts).ok();
        });
        answered.recv().unwrap_or_default()
    }

    async fn count_of(&self, url: &str) -> usize {
        let input = GetQueueAttributesInput {
            queue_url: url.to_owned(),
            attribute_names: MESSAGE_COUNTS.map(str::to_owned).to_vec(),
        };
        let Ok(output) = self.queues.get_queue_attributes(input).await else {
            return 0;
        };
        let counts = MESSAGE_COUNTS.iter();
        let counts = counts.filter_map(|name| output.attributes.get(*name)?.parse::<usize>().ok());
        counts.sum()
    }
}

/// Serves the queues to those whom `authenticator` lets through, until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    authenticator: Authenticator,
    queues: Queues,
    stop: CancellationToken,
) {
    let handler = Arc::new(RustackSqsHandler::new(queues.clone()));
    let answer = move |head: Parts, body: Bytes| {
        let handler = handler.clone();
        async move { respond(&handler, &head, body).await.map(Body::new) }
    };
    authenticator
        .serve(listener, answer, stop, STOP_WITHIN)
        .await;
    queues.shutdown_all().await;
}

async fn respond(
    handler: &RustackSqsHandler,
    head: &Parts,
    body: Bytes,
) -> Response<SqsResponseBody> {
    let id = Uuid::new_v4().to_string();
    let answered = match resolve_operation(&head.headers) {
        Ok(operation) => {
            let body = without_groups(operation, body);
            dispatch_operation(handler, operation, body).await
        }
        Err(error) => Err(error),
    };
    let mut response = answered.unwrap_or_else(|error| error_to_response(&error, &id));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.entry("x-amzn-requestid").or_insert(id);
    }
    let json = HeaderValue::from_static(CONTENT_TYPE);
    headers.entry(http::header::CONTENT_TYPE).or_insert(json);
    response
}

fn attributes(queue: &Queue) -> HashMap<String, String> {
    let mut attributes: HashMap<String, String> = queue.attributes.clone().into_iter().collect();
    if let Some(size) = attributes.get_mut("MaximumMessageSize")
        && size.parse().is_ok_and(|size: u32| size > LARGEST_MESSAGE)
    {
        *size = LARGEST_MESSAGE.to_string();
    }
    if let Some(redrive) = &queue.redrive {
        let policy = json!({ "deadLetterTargetArn": redrive.dead_letter_queue_arn, "maxReceiveCount": redrive.max_receive_count });
        attributes.insert("RedrivePolicy".to_owned(), policy.to_string());
    }
    attributes
}
