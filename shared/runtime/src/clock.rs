//! The source of the time. Nothing but this file asks the operating system for it, so a test can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// The time of day. A clone shows the same time, also after it was moved.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_millis: Arc<AtomicI64>,
}

impl Clock {
    /// The system's time.
    pub fn system() -> Self {
        Self::default()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place that the others are told to ask"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        // Everything stored has milliseconds; a time that is read back must equal the one that was written.
        let now = Utc::now().timestamp_millis() + self.offset_millis.load(Ordering::Relaxed);
        DateTime::from_timestamp_millis(now).unwrap_or_default()
    }

    /// Moves this clock and all its clones, for tests.
    pub fn advance(&self, by: TimeDelta) {
        self.offset_millis
            .fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }
}
