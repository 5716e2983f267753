//! `MessageGroupId` on standard queues. AWS accepts it, and delivers the messages of quiet groups before those of one that fills
//! the queue; rustack accepts it on FIFO queues alone. Here it is accepted and makes no difference.

use bytes::Bytes;
use rustack_sqs_model::operations::SqsOperation;
use serde_json::Value;

const GROUP: &str = "MessageGroupId";

/// The body of an operation, without the groups of what it sends to a standard queue.
pub(super) fn without_groups(operation: SqsOperation, body: Bytes) -> Bytes {
    let sends = matches!(
        operation,
        SqsOperation::SendMessage | SqsOperation::SendMessageBatch
    );
    let sent = serde_json::from_slice::<Value>(&body);
    let Some(mut sent) = sent.ok().filter(|_| sends) else {
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
        let without = |body: &'static str| {
            without_groups(
                SqsOperation::SendMessage,
                Bytes::from_static(body.as_bytes()),
            )
        };
        assert_eq!(
            without(r#"{"QueueUrl":"http://q/1/runs","MessageBody":"b","MessageGroupId":"g"}"#),
            r#"{"MessageBody":"b","QueueUrl":"http://q/1/runs"}"#
        );
        assert_eq!(
            without(r#"{"QueueUrl":"q","Entries":[{"Id":"1","MessageGroupId":"g"}]}"#),
            r#"{"Entries":[{"Id":"1"}],"QueueUrl":"q"}"#
        );
        let fifo = r#"{"QueueUrl":"q.fifo","MessageGroupId":"g"}"#;
        assert_eq!(without(fifo), fifo);
        assert_eq!(without("{"), "{");
    }
}
