//! A limit on wrong passwords, which holds also when many passwords are tried at the same time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::error::RateLimit;
use domain::{Error, Result};
use futures::future::join_all;
use rand::RngExt;
use store::Window;
use tokio::time::{Instant, sleep};

use crate::{Limiter, Policy};

/// The time that a guess waits for the outcomes of other guesses, when the limit would be reached if all of them were wrong.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// The wait between two looks, in milliseconds.
const PAUSE: std::ops::Range<u64> = 50..150;

/// A password that is tried. It counts as a wrong one until its outcome is recorded.
#[must_use]
pub struct Guess {
    limiter: Limiter,
    now: DateTime<Utc>,
    window: Window,
    counted: Vec<Policy>,
}

impl Guess {
    pub fn new(limiter: Limiter, now: DateTime<Utc>) -> Self {
        Self {
            limiter,
            now,
            window: Window::at(now),
            counted: Vec::new(),
        }
    }

    /// Counts the guess under `policy`.
    ///
    /// # Errors
    /// `RateLimited` when as many were wrong as may be, `Unavailable` when it cannot be counted.
    pub async fn count(&mut self, policy: Policy) -> Result<()> {
        let until = Instant::now() + MAX_WAIT;
        loop {
            let tries = self.limiter.count_tries(self.window, &policy, 1, 0).await?;
            if tries.counted <= policy.limit {
                self.counted.push(policy);
                return Ok(());
            }
            if tries.wrong >= policy.limit {
                return Err(self.over(policy.limit, self.window.end()));
            }
            // The guesses under way may turn out to be right: this one is not counted, and waits.
            self.limiter
                .count_tries(self.window, &policy, -1, 0)
                .await?;
            if Instant::now() > until {
                return Err(self.over(policy.limit, self.now));
            }
            let pause = rand::rng().random_range(PAUSE);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Records the outcome. Until the window ends, a guess whose outcome cannot be written counts as wrong.
    pub async fn was(self, right: bool) {
        let (counted, wrong) = if right { (-1, 0) } else { (0, 1) };
        let policies = self.counted.iter();
        let told = policies.map(|policy| {
            self.limiter
                .count_tries(self.window, policy, counted, wrong)
        });
        join_all(told).await;
    }

    /// Takes back what was counted, since no password is tried.
    pub async fn withdraw(self) {
        self.was(true).await;
    }

    fn over(&self, limit: u32, until: DateTime<Utc>) -> Error {
        Error::RateLimited(RateLimit {
            limit,
            remaining: 0,
            reset: self.window.end().timestamp(),
            retry_after: (until.timestamp() - self.now.timestamp()).max(1),
        })
    }
}
