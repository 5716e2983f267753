//! The queues that runs wait in for a worker.
//!
//! Most go over the shared queue. A run that has lost a lease goes on alone, over a queue of its own: it may have ended its
//! worker, and must not disturb other runs. Both are standard queues, whose messages name their organization as group: SQS then
//! deals out those of quiet organizations before those of one that fills the queue.

use std::time::Duration;

use domain::message::{Advance, RunMessage};
use domain::{Error, Result};
use runtime::Services;

/// SQS takes no longer delay.
const MAX_DELAY: Duration = Duration::from_secs(900);

/// Sends runs to the workers. Cheap to clone.
#[derive(Clone)]
pub struct RunQueue {
    sqs: aws_sdk_sqs::Client,
    shared: String,
    /// The same as `shared` in functions that send no run alone.
    alone: String,
}

impl RunQueue {
    /// # Errors
    /// `RUN_QUEUE_URL` is not set.
    pub fn new(services: &Services) -> Result<Self, runtime::Error> {
        let config = &services.config;
        let shared = config.run_queue_url.clone();
        let shared = shared.ok_or("RUN_QUEUE_URL is not set")?;
        let alone = config.alone_run_queue_url.clone();
        Ok(Self {
            sqs: services.sqs.clone(),
            alone: alone.unwrap_or_else(|| shared.clone()),
            shared,
        })
    }

    /// Sends the message that makes a worker take the run on, `delay` from now, rounded up to seconds.
    pub async fn send(&self, message: Advance, delay: Duration) -> Result<()> {
        let seconds = delay.min(MAX_DELAY).as_millis().div_ceil(1000);
        let url = if message.alone {
            &self.alone
        } else {
            &self.shared
        };
        let group = message.organization_id.to_string();
        let body = serde_json::to_string(&RunMessage::Advance(message)).map_err(Error::internal)?;
        let sending = self
            .sqs
            .send_message()
            .queue_url(url)
            .message_body(body)
            .message_group_id(group)
            .set_delay_seconds(i32::try_from(seconds).ok().filter(|seconds| *seconds > 0))
            .send();
        // Boxed like every call of the SDK, whose futures have kilobytes.
        Box::pin(sending).await.map_err(Error::unavailable)?;
        Ok(())
    }
}
