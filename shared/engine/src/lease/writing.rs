//! Writing a run that is held: again and again until the store has taken it, another worker has it, or the lease ends.

use domain::run::{Run, Step};
use domain::{Error, Result};
use store::{RunWrite, WantedPlace};
use tokio::time::Instant;

use super::LeasedRun;
use crate::backoff::Backoff;
use crate::run_head::{is_as, is_lost};

impl LeasedRun<'_> {
    /// Takes the place that the run is to have until the lease ends; `false` when it is another's.
    ///
    /// The place comes first, so that a run which finds none is queued all the time. Should this worker end before it has the run, the
    /// place ends by itself.
    pub(super) async fn take_place(&self, wanted: WantedPlace) -> Result<bool> {
        let mut backoff = Backoff::until(self.until);
        loop {
            let now = self.clock.now();
            let taken = self
                .store
                .take_run_place(&self.run, wanted, now, now + self.lease);
            let error = match tokio::time::timeout(self.third(), taken).await {
                Ok(Ok(is_taken)) => return Ok(is_taken),
                Ok(Err(error)) => error,
                Err(_) => unanswered(),
            };
            if !error.is_retryable() || !backoff.wait().await {
                return Err(error);
            }
        }
    }

    /// Writes `next`, whatever is wanted of this worker.
    pub(super) async fn put(&mut self, mut next: Run, steps: &[Step]) -> Result<()> {
        next.worked_millis = self.worked_millis();
        while !self.try_put(&next, steps).await? {
            next.version = self.run.version;
            next.pause_requested = self.run.pause_requested;
        }
        Ok(())
    }

    /// Writes, or learns why `next` has to be made anew and written again; `false` then.
    pub(super) async fn try_put(&mut self, next: &Run, steps: &[Step]) -> Result<bool> {
        let mut backoff = Backoff::until(self.until);
        loop {
            let error = match self.write_once(next, steps).await {
                Ok(written) => return Ok(written),
                Err(error) => error,
            };
            // The write has results that would have to be had again: it is worth waiting for.
            if !error.is_retryable() || !backoff.wait().await {
                return Err(error);
            }
        }
    }

    /// Like [`Self::try_put`], with one attempt.
    pub(super) async fn write_once(&mut self, next: &Run, steps: &[Step]) -> Result<bool> {
        let write = self.store.write_run(self.writing(next, steps));
        // A short lease has no time for all that a call to the store may take.
        match tokio::time::timeout(self.third(), write).await {
            Ok(Ok(())) => {
                self.commit_head(next);
                Ok(true)
            }
            Ok(Err(error)) if is_lost(&error) => self.resolve_conflict(next, error).await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(unanswered()),
        }
    }

    fn writing<'w>(&'w self, next: &'w Run, steps: &'w [Step]) -> RunWrite<'w> {
        RunWrite {
            read: &self.run,
            run: next,
            is_entered: self.entry.may_exist(),
            steps,
            messages: &[],
            agent: None,
            audit: &[],
        }
    }

    pub(super) fn commit_head(&mut self, next: &Run) {
        self.run = Run {
            version: next.version + 1,
            ..next.clone()
        };
        let now = Instant::now();
        let left = next.lease.map(|lease| lease.until - self.clock.now());
        let left = left.and_then(|left| left.to_std().ok());
        self.until = now + left.unwrap_or_default();
        self.renewal = now + self.third();
    }

    /// Resolves a failed conditional write by reading the stored head. Returns `true` if our write had in fact succeeded, `false` if
    /// the caller must retry with the refreshed version or pause request; otherwise returns the conflict.
    pub(super) async fn resolve_conflict(&mut self, next: &Run, refusal: Error) -> Result<bool> {
        let run = &self.run;
        let stored = self.store.run_head(run.workspace_id, run.id).await?;
        let Some(stored) = stored else {
            return Err(refusal);
        };
        if stored.version == run.version {
            if stored.pause_requested == run.pause_requested {
                return Err(refusal);
            }
            self.run.pause_requested = stored.pause_requested;
            Ok(false)
        } else if is_as(&stored, next) {
            self.commit_head(&Run {
                version: stored.version - 1,
                showing: stored.showing,
                pause_requested: stored.pause_requested,
                ..next.clone()
            });
            Ok(true)
        } else if is_as(&stored, run) {
            self.run.version = stored.version;
            self.run.showing = stored.showing;
            self.run.pause_requested = stored.pause_requested;
            Ok(false)
        } else {
            Err(refusal)
        }
    }
}

pub(super) fn unanswered() -> Error {
    Error::unavailable("the store did not answer in time")
}
