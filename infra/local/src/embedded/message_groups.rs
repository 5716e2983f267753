//! `MessageGroupId` on standard queues. AWS takes it, and deals out the messages of quiet groups before those of one that fills
//! the queue; rustack takes it on FIFO queues alone. Here it is accepted and makes no difference.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_http::body::SqsResponseBody;
use rustack_sqs_http::dispatch::SqsHandler;
use rustack_sqs_model::error::SqsError;
use rustack_sqs_model::operations::SqsOperation;
use serde_json::Value;

const GROUP: &str = "MessageGroupId";

/// Leaves the group out of what is sent to standard queues.
pub(super) struct WithGroups(pub(super) RustackSqsHandler);

impl SqsHandler for WithGroups {
    fn handle_operation(
        &self,
        operation: SqsOperation,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<SqsResponseBody>, SqsError>> + Send>>
    {
        let body = match operation {
            SqsOperation::SendMessage | SqsOperation::SendMessageBatch => without_groups(body),
            _ => body,
        };
        self.0.handle_operation(operation, body)
    }
}

fn without_groups(body: Bytes) -> Bytes {
    let Ok(mut sent) = serde_json::from_slice::<Value>(&body) else {
        return body;
    };
    let url = sent["QueueUrl"].as_str().unwrap_or_default();
    if url.ends_with(".fifo") {
        return body;
    }
    if let Some(message) = sent.as_object_mut() {
        message.remove(GROUP);
    }
    let entries = sent.get_mut("Entries").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove(GROUP);
        }
    }
    Bytes::from(sent.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_standard_queues_are_spared_the_group() {
        let without = |body: &'static str| without_groups(Bytes::from_static(body.as_bytes()));
        assert_eq!(
            without(r#"{"QueueUrl":"http://q/1/runs","MessageBody":"b","MessageGroupId":"g"}"#),
            r#"{"QueueUrl":"http://q/1/runs","MessageBody":"b"}"#
        );
        assert_eq!(
            without(r#"{"QueueUrl":"q","Entries":[{"Id":"1","MessageGroupId":"g"}]}"#),
            r#"{"QueueUrl":"q","Entries":[{"Id":"1"}]}"#
        );
        let fifo = r#"{"QueueUrl":"q.fifo","MessageGroupId":"g"}"#;
        assert_eq!(without(fifo), fifo);
        assert_eq!(without("{"), "{");
    }
}
