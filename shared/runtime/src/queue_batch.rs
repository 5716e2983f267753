//! Queue batches: one message at a time to a handler, and the failed ones back to the queue.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{FutureExt, StreamExt};
use serde::de::DeserializeOwned;
use tracing::Instrument;

/// The number of messages of one batch that are handled at once.
const CONCURRENCY: usize = 10;

/// Runs `handle` for every message of the batch and reports those that failed, so that only they are delivered again. One whose
/// handling panics is among them, and no other is disturbed.
///
/// A message that is not a `T` can never succeed. It is reported as failed all the same: the queue's redrive policy moves
/// it to the dead-letter queue, where it is seen, while acknowledging would lose it silently.
pub async fn each_message<T, F, R>(event: SqsEvent, handle: F) -> SqsBatchResponse
where
    T: DeserializeOwned,
    F: Fn(T) -> R,
    R: Future<Output = Result<(), domain::Error>>,
{
    let failed: Vec<String> = futures::stream::iter(event.records)
        .map(|message| {
            let handle = &handle;
            async move {
                let id = message.message_id.clone().unwrap_or_default();
                let span = tracing::info_span!("message", message.id = %id);
                // What a handler shares with others is the clients of services, which know no half-done state.
                let handled = AssertUnwindSafe(one_message(&message, handle)).catch_unwind();
                let handled = async {
                    handled.await.unwrap_or_else(|_| {
                        tracing::error!("the handling of a queue message panicked");
                        Err(())
                    })
                };
                handled.instrument(span).await.is_err().then_some(id)
            }
        })
        .buffer_unordered(CONCURRENCY)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed
        .into_iter()
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect();
    response
}

async fn one_message<T, F, R>(message: &SqsMessage, handle: &F) -> Result<(), ()>
where
    T: DeserializeOwned,
    F: Fn(T) -> R,
    R: Future<Output = Result<(), domain::Error>>,
{
    let body = message.body.as_deref().unwrap_or_default();
    let body = serde_json::from_str(body)
        .map_err(|error| tracing::error!(%error, "queue message cannot be read"))?;
    handle(body).await.map_err(|error| {
        // Its message alone hides what went wrong below it.
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(%error, source, retryable = error.is_retryable(), "queue message failed");
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_that_panics_fails_alone() {
        let mut event = SqsEvent::default();
        event.records = ["1", "2", "3", "{"]
            .iter()
            .map(|body| {
                let mut message = SqsMessage::default();
                message.message_id = Some(format!("m{body}"));
                message.body = Some((*body).to_owned());
                message
            })
            .collect();
        let response = each_message(event, async |number: u32| {
            tokio::task::yield_now().await;
            assert_ne!(number, 2, "this one is what the test is about");
            Ok(())
        })
        .await;
        let failed = response.batch_item_failures.into_iter();
        let mut failed: Vec<_> = failed.map(|failure| failure.item_identifier).collect();
        failed.sort();
        assert_eq!(failed, ["m2", "m{"]);
    }
}
