//! The queues that runs wait in for a worker.
//!
//! Most go over the shared queue. A run that has lost a lease goes on alone, over a queue of its own: it may have ended its worker, and must
//! not disturb other runs. Messages name their organization as group.

use std::time::Duration;

use domain::Result;
use domain::message::{Advance, RunMessage};
use runtime::{Queue, Services};

/// Sends runs to the workers. Cheap to clone.
#[derive(Clone)]
pub struct RunQueue {
    shared: Queue<RunMessage>,
    /// The same as `shared` in functions that send no run alone.
    alone: Queue<RunMessage>,
}

impl RunQueue {
    /// # Errors
    /// `RUN_QUEUE_URL` is not set.
    pub fn new(services: &Services) -> Result<Self, runtime::Error> {
        let shared = Queue::new(services, "RUN_QUEUE_URL")?;
        let alone = Queue::new(services, "ALONE_RUN_QUEUE_URL");
        Ok(Self {
            alone: alone.unwrap_or_else(|_| shared.clone()),
            shared,
        })
    }

    /// Sends the message that makes a worker take the run on, `delay` from now.
    ///
    /// # Errors
    /// `Unavailable` when the queue has not confirmed it.
    pub async fn send(&self, message: Advance, delay: Duration) -> Result<()> {
        let queue = if message.alone {
            &self.alone
        } else {
            &self.shared
        };
        let group = message.organization_id.to_string();
        let message = RunMessage::Advance(message);
        queue.send(&message, &group, delay).await
    }
}
