//! Queues: each takes messages of one type.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use domain::Error;
use serde::Serialize;

use crate::Services;
use crate::config::ConfigError;

/// The longest delay that SQS takes.
const MAX_DELAY: Duration = Duration::from_secs(900);

/// A standard queue. Cheap to clone.
pub struct Queue<M> {
    sqs: aws_sdk_sqs::Client,
    url: Arc<str>,
    messages: PhantomData<fn(M)>,
}

impl<M> Clone for Queue<M> {
    fn clone(&self) -> Self {
        Self {
            sqs: self.sqs.clone(),
            url: self.url.clone(),
            messages: PhantomData,
        }
    }
}

impl<M: Serialize> Queue<M> {
    /// The queue whose URL is in this environment variable, which ends in `_QUEUE_URL`.
    ///
    /// # Errors
    /// `Missing` when the variable is not set.
    pub fn new(services: &Services, variable: &'static str) -> Result<Self, ConfigError> {
        let url = services.config.queues.get(variable);
        Ok(Self {
            sqs: services.sqs.clone(),
            url: url.ok_or(ConfigError::Missing(variable))?.as_str().into(),
            messages: PhantomData,
        })
    }

    /// Sends a message, to be received after `delay`: rounded up to seconds, at most 15 minutes. SQS deals out the messages of quiet
    /// groups before those of one that fills the queue.
    ///
    /// # Errors
    /// `Unavailable` when SQS has not confirmed it. The message may have been sent.
    pub async fn send(&self, message: &M, group: &str, delay: Duration) -> Result<(), Error> {
        let seconds = delay.min(MAX_DELAY).as_millis().div_ceil(1000);
        let body = serde_json::to_string(message).map_err(Error::internal)?;
        let sending = self
            .sqs
            .send_message()
            .queue_url(&*self.url)
            .message_body(body)
            .message_group_id(group)
            .set_delay_seconds(i32::try_from(seconds).ok().filter(|seconds| *seconds > 0))
            .send();
        // Boxed like every call of the SDK, whose futures have kilobytes.
        Box::pin(sending).await.map_err(Error::unavailable)?;
        Ok(())
    }
}
