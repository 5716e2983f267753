//! SQS by rustack. Messages live in memory and are gone with the process; the due index finds the work that they stood for.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::service::{SqsHttpConfig, SqsHttpService};
use rustack_sqs_model::input::CreateQueueInput;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connections;
use super::message_groups::WithGroups;
use crate::template::{ACCOUNT_ID, Queue, REGION};

/// The largest message that rustack can hold. AWS takes four times that.
const LARGEST_MESSAGE: u32 = 256 * 1024;
/// How long requests may still run after the stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The queues of this process. Event sources ask them directly, functions over the wire.
pub(crate) type Queues = Arc<RustackSqs>;

/// Creates the queues.
pub(crate) async fn create(address: SocketAddr, queues: &[Queue]) -> anyhow::Result<Queues> {
    let provider = RustackSqs::new(SqsConfig {
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

/// Serves the queues until `stop`.
pub(crate) async fn serve(listener: TcpListener, queues: Queues, stop: CancellationToken) {
    let service = SqsHttpService::new(
        Arc::new(WithGroups(RustackSqsHandler::new(queues.clone()))),
        SqsHttpConfig::default(),
    );
    connections::serve(listener, move |_| service.clone(), stop, STOP_WITHIN).await;
    queues.shutdown_all().await;
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
