//! A run that is watched until it is over, for as long as a stream lasts: what is stored of it is read again and again, more often
//! while things happen.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::Event;
use domain::Result;
use domain::ids::{RunId, WorkspaceId};
use domain::run::RunStatus;
use store::{EventCursor, Store};
use tokio::time::{Instant, sleep_until};

use crate::Pace;
use crate::history::{History, RunEvent};
use crate::place::Place;

/// The time after news until there may be more, and the time to wait when there was none for long.
const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The time after which a client shall come back to a stream that was ended in the middle.
const RETRY: Duration = Duration::from_secs(1);
/// The time that a stream goes on while it cannot be found out whether it may.
const UNSURE: Duration = Duration::from_secs(10);

/// A run's events, from some id on.
pub(crate) struct Following {
    store: Store,
    workspace: WorkspaceId,
    run: RunId,
    history: History,
    cursor: EventCursor,
    /// The events that the client has seen already.
    after: u64,
    to_tell: VecDeque<RunEvent>,
    pause: Duration,
    read_at: Instant,
    told_at: Instant,
    has_ended: bool,
}

/// A run that is told of in a stream.
struct Stream {
    following: Following,
    place: Place,
    pace: Pace,
    until: Instant,
    /// `true` if the request was counted; `None` once that is written down.
    was_counted: Option<bool>,
    /// The time of the next check whether the stream may go on, and that of the last one that said so.
    check_at: Instant,
    good_at: Instant,
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

    /// The events as they come. The stream ends with the run, after `time`, from when on the client has to come back, or soon after
    /// it has lost what it needs: its credential, or its place.
    pub(crate) fn stream(
        self,
        place: Place,
        was_counted: bool,
        pace: Pace,
        time: Duration,
    ) -> impl futures::Stream<Item = Result<Event, Infallible>> + Send {
        let now = Instant::now();
        let stream = Stream {
            following: self,
            place,
            pace,
            until: now + time,
            was_counted: Some(was_counted),
            check_at: now + pace.check_every,
            good_at: now,
        };
        futures::stream::unfold(stream, async |mut stream| {
            let event = stream.next().await?;
            Some((Ok(event), stream))
        })
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

    /// Reads what is new; `false` when there is nothing more to come.
    async fn read_again(&mut self) -> bool {
        match self.read().await {
            Ok(is_there) => is_there,
            // The next read may succeed.
            Err(error) if error.is_retryable() => {
                tracing::warn!(run.id = %self.run, %error, "a watched run cannot be read now");
                self.wait_longer();
                true
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(tracing::field::display);
                tracing::error!(run.id = %self.run, %error, source, "a watched run cannot be read");
                false
            }
        }
    }

    fn wait_longer(&mut self) {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.read_at = Instant::now();
    }
}

impl Stream {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let now = Instant::now();
            if self.following.has_ended {
                return None;
            }
            if self.until <= now && !self.following.is_read_to_its_end() {
                return Some(self.come_back().await);
            }
            if self.check_at <= now && !self.may_go_on().await {
                return None;
            }
            if let Some(event) = self.following.to_tell.pop_front() {
                self.following.told_at = now;
                let frame = Event::default().id(event.id.to_string()).event(event.name);
                return Some(frame.data(event.data.to_string()));
            }
            if self.following.history.is_over() {
                return None;
            }
            // What is there already is not kept waiting for this.
            if let Some(was_counted) = self.was_counted.take() {
                self.place.allow_comeback(was_counted).await;
                continue;
            }
            let ping_at = self.following.told_at + self.pace.ping_every;
            if ping_at <= now {
                self.following.told_at = now;
                return Some(Event::default().comment("ping"));
            }
            let read_at = self.following.read_at + self.following.pause;
            if read_at > now {
                let next = ping_at.min(read_at).min(self.check_at).min(self.until);
                sleep_until(next).await;
            } else if !self.following.read_again().await {
                return None;
            }
        }
    }

    /// The last words of a stream whose run goes on.
    async fn come_back(&mut self) -> Event {
        if let Some(was_counted) = self.was_counted.take() {
            self.place.allow_comeback(was_counted).await;
        }
        self.following.has_ended = true;
        self.place.keep();
        Event::default().retry(RETRY).comment("come back")
    }

    /// Asks whether the stream may go on. That it cannot be told does not end it at once.
    async fn may_go_on(&mut self) -> bool {
        let good = self.place.is_good().await;
        let now = Instant::now();
        self.check_at = now + self.pace.check_every;
        match good {
            Ok(is_good) => {
                self.good_at = now;
                is_good
            }
            Err(error) => {
                tracing::warn!(run.id = %self.following.run, %error, "whether a stream may go on cannot be told now");
                now < self.good_at + UNSURE
            }
        }
    }
}
