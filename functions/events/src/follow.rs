//! A run that is watched until it is over: what is stored of it is read again and again, more often while things happen.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::Event;
use domain::Result;
use domain::ids::{RunId, WorkspaceId};
use domain::run::RunStatus;
use futures::Stream;
use store::{EventCursor, Store};
use tokio::time::{Instant, sleep_until};

use crate::history::{History, RunEvent};

/// How soon after news there may be more, and how long to wait when there was none for long.
const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// When a client shall come back to a stream that its time-out ended.
const RETRY: Duration = Duration::from_secs(1);

/// A run's events, from some id on.
pub(crate) struct Following {
    store: Store,
    workspace: WorkspaceId,
    run: RunId,
    history: History,
    cursor: EventCursor,
    /// What the client has seen already.
    after: u64,
    to_tell: VecDeque<RunEvent>,
    pause: Duration,
    read_at: Instant,
    told_at: Instant,
    has_ended: bool,
}

impl Following {
    /// Reads the run as far as it is; `None` when there is no such run. Events up to the id `after` are not told.
    pub(crate) async fn start(
        store: Store,
        workspace: WorkspaceId,
        run: RunId,
        after: u64,
    ) -> Result<Option<Self>> {
        let mut this = Self {
            store,
            workspace,
            run,
            history: History::new(run),
            cursor: EventCursor::Start,
            after,
            to_tell: VecDeque::new(),
            pause: FIRST_PAUSE,
            read_at: Instant::now(),
            told_at: Instant::now(),
            has_ended: false,
        };
        Ok(this.read().await?.then_some(this))
    }

    /// The id of the newest event so far.
    pub(crate) fn newest(&self) -> u64 {
        self.history.newest()
    }

    /// The run is over, and the client has seen its end.
    pub(crate) fn is_read_to_its_end(&self) -> bool {
        self.history.is_over() && self.to_tell.is_empty()
    }

    /// The events as they come, with a comment after `ping_every` without one. Ends with the run, or after `time`, from when on
    /// the client has to come back.
    pub(crate) fn stream(
        self,
        ping_every: Duration,
        time: Option<Duration>,
    ) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        let until = time.map(|time| Instant::now() + time);
        futures::stream::unfold(self, move |mut this| async move {
            let event = this.next(ping_every, until).await?;
            Some((Ok(event), this))
        })
    }

    async fn next(&mut self, ping_every: Duration, until: Option<Instant>) -> Option<Event> {
        loop {
            if let Some(event) = self.to_tell.pop_front() {
                self.told_at = Instant::now();
                let frame = Event::default().id(event.id.to_string()).event(event.name);
                return Some(frame.data(event.data.to_string()));
            }
            if self.has_ended || self.history.is_over() {
                return None;
            }
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                self.has_ended = true;
                return Some(Event::default().retry(RETRY).comment("come back"));
            }
            let ping_at = self.told_at + ping_every;
            if ping_at <= now {
                self.told_at = now;
                return Some(Event::default().comment("ping"));
            }
            let read_at = self.read_at + self.pause;
            if read_at > now {
                let next = ping_at.min(read_at);
                sleep_until(until.map_or(next, |until| until.min(next))).await;
                continue;
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => return None,
                // The next read may succeed.
                Err(error) if error.is_retryable() => {
                    tracing::warn!(run.id = %self.run, %error, "a watched run cannot be read now");
                    self.wait_longer();
                }
                Err(error) => {
                    let source = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::error!(run.id = %self.run, %error, source, "a watched run cannot be read");
                    return None;
                }
            }
        }
    }

    /// Reads what is new; `false` when there is no such run.
    async fn read(&mut self) -> Result<bool> {
        let read = self.store.run_events(self.workspace, self.run, self.cursor);
        let Some(mut read) = read.await? else {
            return Ok(false);
        };
        if read.run.status == RunStatus::Completed && read.run.output.is_none() {
            // It is large, so it is not in the head.
            let whole = self.store.run(self.workspace, self.run).await?;
            read.run.output = whole.and_then(|run| run.output);
        }
        if let Some(last) = read.entries.last() {
            self.cursor = last.cursor();
        }
        let new = self.history.read(&read);
        if new.is_empty() {
            self.wait_longer();
        } else {
            self.pause = FIRST_PAUSE;
            self.read_at = Instant::now();
        }
        let after = self.after;
        self.to_tell
            .extend(new.into_iter().filter(|event| event.id > after));
        Ok(true)
    }

    fn wait_longer(&mut self) {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.read_at = Instant::now();
    }
}
