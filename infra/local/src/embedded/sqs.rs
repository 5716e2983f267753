//! SQS by rustack. Messages live in memory and are gone with the process; the due index finds the work that they stood for.

use std::collections::HashMap;
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
use rustack_sqs_model::input::CreateQueueInput;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::front::{Front, Protocol};
use super::message_groups::without_groups;
use crate::template::{ACCOUNT_ID, Queue, REGION};

/// Ten messages to a request, and what is around them.
pub(crate) const PROTOCOL: Protocol = Protocol {
    service: "sqs",
    largest_body: 4 * 1024 * 1024,
};
/// The largest message that rustack can hold. AWS takes four times that.
const LARGEST_MESSAGE: u32 = 256 * 1024;
/// The time that requests may still run after the stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The queues of this process. Event sources ask them directly, functions over the wire.
pub(crate) type Queues = Arc<RustackSqs>;

/// Creates the queues.
pub(crate) async fn create(address: SocketAddr, queues: &[Queue]) -> anyhow::Result<Queues> {
    let provider = RustackSqs::new(SqsConfig {
        // The front has done that.
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

/// Serves the queues to those whom `front` lets through, until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    front: Front,
    queues: Queues,
    stop: CancellationToken,
) {
    let handler = Arc::new(RustackSqsHandler::new(queues.clone()));
    let answer = move |head: Parts, body: Bytes| {
        let handler = handler.clone();
        async move { respond(&handler, &head, body).await.map(Body::new) }
    };
    front.serve(listener, answer, stop, STOP_WITHIN).await;
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
