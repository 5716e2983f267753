//! Queue event sources: messages from a queue to a function, as Lambda's event source mappings bring them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::encodings::Base64Data;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage, SqsMessageAttribute};
use rustack_sqs_model::input::{DeleteMessageInput, ReceiveMessageInput};
use rustack_sqs_model::types::{Message, MessageAttributeValue};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::embedded::sqs::Queues;
use crate::hosting::FunctionHandle;
use crate::invocation::Invoker;
use crate::template::{Queue, QueueSource, REGION};

/// The time that one receive waits for a message. The queue answers the moment there is one.
const LONG_POLL_SECONDS: i32 = 20;
/// The most messages that one receive gives.
const LARGEST_RECEIVE: usize = 10;
/// The number of batches that run side by side when the template sets no `MaximumConcurrency`.
const DEFAULT_CONCURRENCY: usize = 10;
/// The pause after a receive that failed.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A queue, and the function that its messages go to.
pub(crate) struct EventSource {
    pub(crate) source: QueueSource,
    pub(crate) queue: Queue,
    pub(crate) function: FunctionHandle,
    pub(crate) queues: Queues,
    pub(crate) invoker: Invoker,
}

impl EventSource {
    /// Polls until `stop`. Batches that were received by then are handled to their end by the invoker.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(
            self.source
                .maximum_concurrency
                .unwrap_or(DEFAULT_CONCURRENCY)
                .max(1),
        ));
        let this = Arc::new(self);
        loop {
            // A message that is received runs at once: nothing waits, invisible to others, for a slot.
            let next = async {
                let slot = slots.clone().acquire_owned().await;
                (slot, this.next_batch().await)
            };
            let (slot, batch) = tokio::select! {
                () = stop.cancelled() => return,
                next = next => next,
            };
            let batch_source = this.clone();
            this.invoker.spawn(async move {
                batch_source.handle(batch).await;
                drop(slot);
            });
        }
    }

    /// Waits for the next batch: full, or as full as it got within the window.
    async fn next_batch(&self) -> Vec<Message> {
        let QueueSource {
            batch_size, window, ..
        } = self.source;
        let mut batch = Vec::new();
        while batch.is_empty() {
            batch = self.receive(batch_size, LONG_POLL_SECONDS).await;
        }
        if window.is_zero() && batch_size <= LARGEST_RECEIVE {
            return batch;
        }
        let started = Instant::now();
        while batch.len() < batch_size {
            let remaining = window.saturating_sub(started.elapsed());
            // A receive waits for whole seconds.
            let wait = i32::try_from(remaining.as_millis().div_ceil(1000))
                .unwrap_or(LONG_POLL_SECONDS)
                .min(LONG_POLL_SECONDS);
            let more = self.receive(batch_size - batch.len(), wait).await;
            if more.is_empty() && started.elapsed() >= window {
                break;
            }
            batch.extend(more);
        }
        batch
    }

    async fn receive(&self, most: usize, wait_seconds: i32) -> Vec<Message> {
        let input = ReceiveMessageInput {
            queue_url: self.queue.url.clone(),
            max_number_of_messages: i32::try_from(most.min(LARGEST_RECEIVE)).ok(),
            wait_time_seconds: Some(wait_seconds),
            attribute_names: vec!["All".to_owned()],
            message_attribute_names: vec!["All".to_owned()],
            ..ReceiveMessageInput::default()
        };
        match self.queues.receive_message(input).await {
            Ok(output) => output.messages,
            Err(error) => {
                tracing::error!(queue = self.queue.name, %error, "messages cannot be received");
                tokio::time::sleep(BACK_OFF).await;
                Vec::new()
            }
        }
    }

    async fn handle(&self, batch: Vec<Message>) {
        let receipts: Vec<(String, String)> = batch
            .iter()
            .map(|message| {
                (
                    message.message_id.clone().unwrap_or_default(),
                    message.receipt_handle.clone().unwrap_or_default(),
                )
            })
            .collect();
        let mut event = SqsEvent::default();
        event.records = batch
            .into_iter()
            .map(|message| self.record(message))
            .collect();
        let failed = match self.function.handle_messages(event).await {
            Ok(response) if self.source.report_batch_item_failures => {
                failed_ids(&response, &receipts)
            }
            Ok(_) => HashSet::new(),
            Err(failure) => {
                tracing::error!(function = self.source.function, error = %failure, "queue function failed");
                all(&receipts)
            }
        };
        // What failed stays invisible until its visibility timeout ends. Then it comes again, or goes to the dead letters.
        for (id, receipt) in &receipts {
            if !failed.contains(id.as_str()) {
                self.delete(receipt.clone()).await;
            }
        }
    }

    async fn delete(&self, receipt_handle: String) {
        let input = DeleteMessageInput {
            queue_url: self.queue.url.clone(),
            receipt_handle,
        };
        if let Err(error) = self.queues.delete_message(input).await {
            tracing::error!(queue = self.queue.name, %error, "a handled message cannot be deleted and will come again");
        }
    }

    fn record(&self, message: Message) -> SqsMessage {
        let mut record = SqsMessage::default();
        record.message_id = message.message_id;
        record.receipt_handle = message.receipt_handle;
        record.body = message.body;
        record.md5_of_body = message.md5_of_body;
        record.md5_of_message_attributes = message.md5_of_message_attributes;
        record.attributes = message.attributes;
        record.message_attributes = message_attributes(message.message_attributes);
        record.event_source_arn = Some(self.queue.arn.clone());
        record.event_source = Some("aws:sqs".to_owned());
        record.aws_region = Some(REGION.to_owned());
        record
    }
}

fn message_attributes(
    attributes: HashMap<String, MessageAttributeValue>,
) -> HashMap<String, SqsMessageAttribute> {
    let convert = |value: MessageAttributeValue| {
        let mut attribute = SqsMessageAttribute::default();
        attribute.data_type = Some(value.data_type);
        attribute.string_value = value.string_value;
        attribute.binary_value = value.binary_value.map(|bytes| {
            let mut data = Base64Data::default();
            data.0 = bytes;
            data
        });
        attribute
    };
    attributes
        .into_iter()
        .map(|(name, value)| (name, convert(value)))
        .collect()
}

/// The messages that a function calls failed. Like Lambda, takes all of them for failed when it names one that it was not given.
fn failed_ids<'a>(
    response: &SqsBatchResponse,
    receipts: &'a [(String, String)],
) -> HashSet<&'a str> {
    let mut failed = HashSet::new();
    for failure in &response.batch_item_failures {
        match receipts
            .iter()
            .find(|(id, _)| *id == failure.item_identifier)
        {
            Some((id, _)) => drop(failed.insert(id.as_str())),
            None => return all(receipts),
        }
    }
    failed
}

fn all(receipts: &[(String, String)]) -> HashSet<&str> {
    receipts.iter().map(|(id, _)| id.as_str()).collect()
}
