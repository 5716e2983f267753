//! Exponential backoff with jitter.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

/// The time to wait before a write is tried again, at first; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The waits between attempts at what the store could not take.
pub(crate) struct Backoff {
    next: Duration,
    until: Instant,
}

impl Backoff {
    /// As many as there is time for `until` then.
    pub(crate) fn until(until: Instant) -> Self {
        Self {
            next: FIRST_PAUSE,
            until,
        }
    }

    /// Waits for the next attempt; `false` when there is no time for one.
    pub(crate) async fn wait(&mut self) -> bool {
        let pause = rand::rng().random_range(self.next / 2..=self.next);
        if Instant::now() + pause >= self.until {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}
