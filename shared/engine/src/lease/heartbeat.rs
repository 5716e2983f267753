//! Keeping a run while its work is waited for: renewing the lease, entering the run in its agent's status, and showing what comes of a
//! model's answer.
//!
//! All of it goes on beside the work, so that a call to the store that hangs never holds up a reply. What is under way when the
//! work is done is dropped. Should it have been written all the same, the next write finds that out.

use std::pin::pin;
use std::time::Duration;

use domain::run::{Run, StreamChunk, StreamChunkEvent};
use domain::{Error, Result};
use store::{EventCursor, JournalEntry};
use tokio::time::Instant;

use super::writing::unanswered;
use super::{LeasedRun, Place, Shown};
use crate::run_head::is_lost;
use crate::stream_buffer::StreamBuffer;
use crate::stream_sink::{JournalSink, StreamSink};

/// The time until the first of an answer is shown, and the interval until more of it is.
const SHOWN_FIRST: Duration = Duration::from_millis(50);
const SHOWN_EVERY: Duration = Duration::from_millis(250);
/// The time after which a lease that could not be renewed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The number of times that a piece is tried whose place was taken, or whose run was renewed meanwhile.
const ATTEMPTS: u32 = 3;

impl LeasedRun<'_> {
    /// Waits for work that may outlast the lease, renewing it meanwhile.
    ///
    /// # Errors
    /// `Conflict` when another worker has the run by now; the work is dropped then.
    pub(crate) async fn with_heartbeat<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        self.wait::<T, JournalSink>(work, None).await
    }

    /// Waits for the answer of a model, renewing the lease meanwhile, and shows what comes of it. An answer that comes at once is
    /// not shown before it is there.
    ///
    /// # Errors
    /// Like [`Self::with_heartbeat`].
    pub(crate) async fn with_heartbeat_streaming<T>(
        &mut self,
        buffer: &StreamBuffer,
        sink: impl StreamSink,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        self.wait(work, Some((buffer, sink))).await
    }

    async fn wait<T, S: StreamSink>(
        &mut self,
        work: impl Future<Output = T>,
        stream: Option<(&StreamBuffer, S)>,
    ) -> Result<T> {
        let mut work = pin!(work);
        let mut keeping = pin!(self.keep(stream));
        tokio::select! {
            biased;
            done = &mut work => Ok(done),
            lost = &mut keeping => Err(lost),
        }
    }

    /// Renews and shows until the run is lost.
    async fn keep(&mut self, stream: Option<(&StreamBuffer, impl StreamSink)>) -> Error {
        let mut showing = stream.map(|(buffer, sink)| (buffer, sink, Instant::now() + SHOWN_FIRST));
        loop {
            let mut wake = self.renewal.min(self.entry.due);
            if let Some((_, _, at)) = &showing {
                wake = wake.min(*at);
            }
            if let Place::Taken { renewal, .. } = self.place {
                wake = wake.min(renewal);
            }
            tokio::time::sleep_until(wake).await;
            if let Some((buffer, sink, at)) = &mut showing
                && *at <= Instant::now()
            {
                for event in buffer.take() {
                    if let Err(lost) = sink.show(self, event).await {
                        return lost;
                    }
                }
                *at = Instant::now() + SHOWN_EVERY;
            }
            if self.renewal <= Instant::now()
                && let Err(lost) = self.renew().await
            {
                return lost;
            }
            if self.entry.due <= Instant::now() {
                let until = self.clock.now() + self.lease;
                self.entry.write(self.store, &self.run, until);
            }
            if let Place::Taken { number, renewal } = self.place
                && renewal <= Instant::now()
            {
                self.renew_place(number).await;
            }
        }
    }

    /// Finds out whether the run still has its place, which a run that waits for another may have lent to it.
    pub(crate) async fn look_after_place(&mut self) {
        if let Some(number) = self.place() {
            self.renew_place(number).await;
        }
    }

    async fn renew_place(&mut self, number: u16) {
        let until = self.clock.now() + self.lease;
        let renewing = self.store.renew_run_place(&self.run, number, until);
        let renewed = match tokio::time::timeout(self.third(), renewing).await {
            Ok(renewed) => renewed,
            Err(_) => Err(unanswered()),
        };
        let third = self.third();
        self.place = match renewed {
            Ok(true) => Place::Taken {
                number,
                renewal: Instant::now() + third,
            },
            Ok(false) => Place::Lost,
            Err(error) => {
                tracing::warn!(run.id = %self.run.id, %error, "place not renewed");
                Place::Taken {
                    number,
                    renewal: Instant::now() + AGAIN.min(third),
                }
            }
        };
    }

    /// # Errors
    /// `Conflict` when another worker has the run by now.
    async fn renew(&mut self) -> Result<()> {
        loop {
            match self.write_once(&self.renewed(), &[]).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // There is time for more attempts, and a lease that ran out shows as a conflict later.
                Err(error) if error.is_retryable() => {
                    tracing::warn!(run.id = %self.run.id, %error, "lease not renewed");
                    self.renewal = Instant::now() + AGAIN.min(self.third());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Shows a piece of an answer in the run's journal, as [`JournalSink`] does.
    ///
    /// # Errors
    /// `Conflict` when another worker has the run by now.
    pub(crate) async fn show(&mut self, event: StreamChunkEvent) -> Result<()> {
        if let StreamChunkEvent::ModelAsked { attempt, .. } = &event {
            self.shown.attempts = *attempt;
        }
        let mut chunk = StreamChunk {
            position: self.shown.position,
            sequence: self.shown.pieces,
            at: self.clock.now(),
            event,
        };
        for _ in 0..ATTEMPTS {
            match tokio::time::timeout(self.third(), self.try_to_show(&chunk)).await {
                Ok(Ok(Tried::Shown)) => {
                    self.shown.pieces += 1;
                    return Ok(());
                }
                Ok(Ok(Tried::Again)) => continue,
                Ok(Ok(Tried::PlaceIsTaken)) => match self.read_shown().await {
                    Ok(()) => {
                        chunk.sequence = self.shown.pieces;
                        continue;
                    }
                    Err(error) => self.log_not_shown(&error),
                },
                Ok(Err(error)) if is_lost(&error) => return Err(error),
                Ok(Err(error)) => self.log_not_shown(&error),
                Err(_) => self.log_not_shown(&unanswered()),
            }
            break;
        }
        // Perhaps it was, all the same: its place is not used again.
        self.shown.pieces += 1;
        Ok(())
    }

    fn log_not_shown(&self, error: &dyn std::fmt::Display) {
        tracing::warn!(run.id = %self.run.id, %error, "a piece of an answer was not shown");
    }

    /// # Errors
    /// `Conflict` when another worker has the run by now.
    async fn try_to_show(&mut self, chunk: &StreamChunk) -> Result<Tried> {
        let tried = |is_shown| match is_shown {
            true => Tried::Shown,
            false => Tried::PlaceIsTaken,
        };
        if self.run.showing == Some(chunk.position) {
            match self.store.append_chunk(&self.run, chunk).await {
                // The head tells whose the run is.
                Err(error) if is_lost(&error) => {}
                result => return result.map(tried),
            }
        }
        // The first piece of an answer is a write of the head, after which a small fence stands for it.
        let next = Run {
            showing: Some(chunk.position),
            ..self.renewed()
        };
        match self.store.show_answer(&self.run, &next, chunk).await {
            Err(error) if is_lost(&error) => self
                .resolve_conflict(&next, error)
                .await
                .map(|_| Tried::Again),
            Ok(true) => {
                self.commit_head(&next);
                Ok(Tried::Shown)
            }
            result => result.map(tried),
        }
    }

    /// Reads what is shown of the answer: a worker of before may have gone on after this one had read that.
    async fn read_shown(&mut self) -> Result<()> {
        let (workspace, id) = (self.run.workspace_id, self.run.id);
        let after = match self.shown.position.checked_sub(1) {
            Some(step) => EventCursor::Step(step),
            None => EventCursor::Start,
        };
        let seen = self.store.run_events(workspace, id, after).await?;
        let entries = seen.map(|seen| seen.entries).unwrap_or_default();
        let chunks: Vec<StreamChunk> = entries
            .into_iter()
            .filter_map(|entry| match entry {
                JournalEntry::StreamChunk(chunk) => Some(chunk),
                JournalEntry::Step(_) => None,
            })
            .collect();
        let there = Shown::of(self.shown.position, &chunks);
        self.shown.pieces = self.shown.pieces.max(there.pieces);
        Ok(())
    }
}

/// The outcome of showing a piece of an answer.
enum Tried {
    Shown,
    /// There is another piece in its place.
    PlaceIsTaken,
    /// The run was written meanwhile, and is this worker's still.
    Again,
}
