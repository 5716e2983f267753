//! Queue messages as a function gets them.

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use serde_json::{Value, json};

use crate::template::{ACCOUNT_ID, REGION, STACK_NAME};

/// A message of a batch.
#[derive(Clone, Debug)]
pub struct QueueMessage {
    /// The identifier that the function reports if it fails.
    pub id: String,
    pub body: String,
}

impl QueueMessage {
    pub fn new(id: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            body: body.into(),
        }
    }

    fn record(self, queue: &str) -> SqsMessage {
        let mut record = SqsMessage::default();
        record.receipt_handle = Some(format!("receipt-of-{}", self.id));
        record.message_id = Some(self.id);
        record.body = Some(self.body);
        record.attributes = [("ApproximateReceiveCount".to_owned(), "1".to_owned())].into();
        record.event_source_arn = Some(format!(
            "arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{STACK_NAME}-{queue}"
        ));
        record.event_source = Some("aws:sqs".to_owned());
        record.aws_region = Some(REGION.to_owned());
        record
    }
}

/// The event of a batch from the queue with this logical id.
pub fn sqs_event(queue: &str, messages: impl IntoIterator<Item = QueueMessage>) -> Value {
    let mut event = SqsEvent::default();
    event.records = messages
        .into_iter()
        .map(|message| message.record(queue))
        .collect();
    json!(event)
}
