//! A guard far above the documented limits of keys: how many requests an organization may make in a minute, with all of its keys and
//! sessions.
//!
//! Each instance of a function counts by itself and writes its requests in batches, each after the response to the last request of
//! the batch. So a request waits for no round trip and costs a small part of a write. The count is less precise for that: an
//! instance learns what the others have counted only when it writes, and an incomplete batch is dropped at the end of the minute.
//! For each instance, at most one batch goes beyond the limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use domain::ids::OrganizationId;
use domain::{Error, Result};
use store::{Store, Window};

/// The number of requests in a batch, unless the limit is so high that larger batches are needed.
const BATCH: u32 = 10;
/// The most writes of an organization's count that all instances make in a minute: DynamoDB takes 60,000 writes of an item.
const MOST_WRITES: u32 = 30_000;

/// Counts the requests of organizations. It is cheap to clone.
#[derive(Clone)]
pub struct OrganizationGuard {
    store: Store,
    limit: u32,
    minute: Arc<Mutex<Minute>>,
}

/// Requests that are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    organization: OrganizationId,
    window: Window,
    requests: u32,
}

/// An instance's knowledge of the current minute.
struct Minute {
    window: Window,
    organizations: HashMap<OrganizationId, Seen>,
}

#[derive(Default)]
struct Seen {
    /// The count that all instances had written when this one last wrote.
    written: u32,
    /// Requests that this one has let in and not yet written.
    own: u32,
    /// Those of `own` that are in no batch yet.
    loose: u32,
}

impl OrganizationGuard {
    pub(crate) fn new(store: Store, limit: u32) -> Self {
        let minute = Minute {
            window: Window::at(DateTime::UNIX_EPOCH),
            organizations: HashMap::new(),
        };
        Self {
            store,
            limit,
            minute: Arc::new(Mutex::new(minute)),
        }
    }

    /// Lets a request in. A batch that it completes goes to [`Self::write`] once the response is on its way.
    ///
    /// # Errors
    /// `Throttled` until the minute is over.
    pub fn admit(&self, organization: OrganizationId, now: DateTime<Utc>) -> Result<Option<Batch>> {
        let window = Window::at(now);
        let batch = BATCH.max(self.limit / MOST_WRITES);
        self.with(|minute| {
            if minute.window != window {
                *minute = Minute {
                    window,
                    organizations: HashMap::new(),
                };
            }
            let seen = minute.organizations.entry(organization).or_default();
            if seen.written.saturating_add(seen.own) >= self.limit {
                return Err(Error::Throttled {
                    message: "the organization's limit of requests in a minute is reached"
                        .to_owned(),
                    retry_after: (window.end() - now).num_seconds().max(1),
                });
            }
            seen.own += 1;
            seen.loose += 1;
            if seen.loose < batch {
                return Ok(None);
            }
            let requests = std::mem::take(&mut seen.loose);
            Ok(Some(Batch {
                organization,
                window,
                requests,
            }))
        })
    }

    /// Writes a batch, and learns what the other instances have written. Nothing waits for the outcome, and nothing fails by it.
    pub async fn write(&self, batch: Batch) {
        let subject = batch.organization.to_string();
        let counted = self
            .store
            .count_many("organization", &subject, batch.window, batch.requests);
        match counted.await {
            Ok(written) => self.with(|minute| {
                if minute.window == batch.window
                    && let Some(seen) = minute.organizations.get_mut(&batch.organization)
                {
                    seen.written = seen.written.max(written);
                    seen.own = seen.own.saturating_sub(batch.requests);
                }
            }),
            Err(error) => {
                tracing::warn!(%error, policy = "organization", metric = "rate_limiter_failed", "requests of an organization were not counted");
            }
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Minute) -> T) -> T {
        change(&mut self.minute.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
