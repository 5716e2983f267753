//! A run in a worker's hands: every write moves it on, renews the lease, and fails when somebody else has written since.

use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::run::{Lease, Partial, PartialEvent, Run, RunStatus, Step, StepEvent};
use domain::{Error, Result};
use runtime::Clock;
use store::{RunWrite, Store};
use tokio::time::Instant;

use crate::machine::State;
use crate::telling::Telling;

/// How long after a lease's end the sweep looks: a worker that is late by this much is not disturbed.
const SLACK: TimeDelta = TimeDelta::seconds(2);
/// How long to wait before a write that the store could not take is tried again.
const RETRIES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];
/// When the first of an answer is shown, and how often more of it.
const SHOWN_FIRST: Duration = Duration::from_millis(50);
const SHOWN_EVERY: Duration = Duration::from_millis(250);

pub(crate) struct Held<'a> {
    pub(crate) run: Run,
    /// What has been shown of the answer that the journal waits for.
    shown: Shown,
    /// How long workers have had the run before.
    pub(crate) worked_before: Duration,
    /// Since when this one has it.
    pub(crate) since: Instant,
    store: &'a Store,
    clock: &'a Clock,
    lease: TimeDelta,
}

/// What has been shown of an answer on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    position: u32,
    pieces: u32,
    attempts: u32,
}

impl Shown {
    fn of(position: u32, partials: &[Partial]) -> Self {
        let attempts = partials.iter().map(|partial| match &partial.event {
            PartialEvent::ModelAsked { attempt, .. } => *attempt,
            PartialEvent::Text { .. } => 0,
        });
        Self {
            position,
            pieces: partials.last().map_or(0, |last| last.sequence + 1),
            attempts: attempts.max().unwrap_or(0),
        }
    }
}

impl<'a> Held<'a> {
    /// Takes the lease on a run that is free to be taken. `lost` leases have run out at its present step, where `partials` were
    /// shown of an answer that never came.
    pub(crate) async fn take(
        store: &'a Store,
        clock: &'a Clock,
        lease: TimeDelta,
        run: Run,
        partials: &[Partial],
        lost: u8,
    ) -> Result<Self> {
        let now = clock.now();
        let taken = Run {
            status: RunStatus::Running,
            started_at: run.started_at.or(Some(now)),
            lost_leases: lost,
            lease: Some(Lease {
                holder: rand::random(),
                acquired_at: now,
                until: now + lease,
            }),
            showing: None,
            // The tick need not look again for as long as the lease holds. It may have been about to leave the run alone for longer,
            // as one that waits in a long queue.
            due_at: run.due_at.map(|due| due.min(now + lease + SLACK)),
            ..run.clone()
        };
        let mut held = Self {
            shown: Shown::of(run.steps, partials),
            worked_before: Duration::from_millis(run.worked_millis),
            since: Instant::now(),
            run,
            store,
            clock,
            lease,
        };
        held.put(taken, &[]).await?;
        Ok(held)
    }

    /// Stores what has happened. When it turns out that the run shall pause, calls that are about to be made are left for later:
    /// their intents are not stored, and the pause comes first.
    pub(crate) async fn write(&mut self, state: &mut State) -> Result<()> {
        let (next, steps) = self.with_state(self.renewed(), state);
        if self.try_put(&next, &steps).await? {
            state.written();
        } else {
            state.withdraw_intents();
        }
        Ok(())
    }

    /// Stores what has happened and gives the run back, for another worker to go on with at once.
    pub(crate) async fn release(&mut self, state: &mut State) -> Result<()> {
        let released = Run {
            lease: None,
            due_at: Some(self.clock.now()),
            ..self.run.clone()
        };
        let (released, steps) = self.with_state(released, state);
        self.put(released, &steps).await?;
        state.written();
        Ok(())
    }

    /// Stores what has happened and that the run is paused: no worker takes it before somebody continues it.
    pub(crate) async fn pause(&mut self, state: &mut State) -> Result<()> {
        let now = self.clock.now();
        let mut paused = Run {
            status: RunStatus::Paused,
            wanted: None,
            lease: None,
            due_at: None,
            tokens: state.usage(),
            cost_micros: state.cost_micros(),
            ..self.run.clone()
        };
        let events = [state.unwritten(), &[StepEvent::Paused]].concat();
        let steps = number(&mut paused, &events, now);
        self.put(paused, &steps).await?;
        state.written();
        Ok(())
    }

    /// Waits for work that may outlast the lease, renewing it meanwhile.
    ///
    /// # Errors
    /// `Conflict` when the run is somebody else's by now; the work is dropped then.
    pub(crate) async fn keep_while<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(self.third(), &mut work).await {
                return Ok(done);
            }
            self.renew().await?;
        }
    }

    /// Waits for the answer of a model, renewing the lease meanwhile, and shows what comes of it. An answer that comes at once is
    /// not shown before it is there.
    ///
    /// # Errors
    /// Like [`Self::keep_while`].
    pub(crate) async fn show_while<T>(
        &mut self,
        telling: &Telling,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        let mut work = pin!(work);
        let mut renewed = Instant::now();
        let mut wait = SHOWN_FIRST;
        loop {
            if let Ok(done) = tokio::time::timeout(wait.min(self.third()), &mut work).await {
                return Ok(done);
            }
            wait = SHOWN_EVERY;
            for event in telling.take() {
                self.show(event).await?;
            }
            if renewed.elapsed() >= self.third() {
                self.renew().await?;
                renewed = Instant::now();
            }
        }
    }

    /// How often a model has been asked for the answer that the journal waits for.
    pub(crate) fn attempts(&mut self) -> u32 {
        if self.shown.position != self.run.steps {
            self.shown = Shown {
                position: self.run.steps,
                ..Shown::default()
            };
        }
        self.shown.attempts
    }

    async fn show(&mut self, event: PartialEvent) -> Result<()> {
        if let PartialEvent::ModelAsked { attempt, .. } = &event {
            self.shown.attempts = *attempt;
        }
        let mut partial = Partial {
            position: self.shown.position,
            sequence: self.shown.pieces,
            at: self.clock.now(),
            event,
        };
        let mut behind_fence = self.run.showing == Some(partial.position);
        loop {
            let shown = if behind_fence {
                self.store.add_partial(&self.run, &partial).await
            } else {
                self.begin_showing(&partial).await
            };
            match shown {
                Ok(true) => break,
                Ok(false) => partial.sequence += 1,
                // The head tells whose the run is.
                Err(error) if is_lost(&error) && behind_fence => behind_fence = false,
                Err(error) if is_lost(&error) => return Err(error),
                // The answer is what counts, and it comes whole at its end.
                Err(error) => {
                    tracing::warn!(run.id = %self.run.id, %error, "a piece of an answer was not shown");
                    break;
                }
            }
        }
        // Perhaps a piece was shown that seems not to be: its place is not used again.
        self.shown.pieces = partial.sequence + 1;
        Ok(())
    }

    /// Shows the first piece of an answer.
    async fn begin_showing(&mut self, partial: &Partial) -> Result<bool> {
        loop {
            let next = Run {
                showing: Some(partial.position),
                ..self.renewed()
            };
            match self.store.show_answer(&self.run, &next, partial).await {
                Err(error) if is_lost(&error) => {
                    if self.learn(&next, error).await? {
                        return Ok(true);
                    }
                }
                Ok(true) => {
                    self.take_over(&next);
                    return Ok(true);
                }
                result => return result,
            }
        }
    }

    async fn renew(&mut self) -> Result<()> {
        match self.put(self.renewed(), &[]).await {
            // Two more renewals fit into the lease, and a lease that ran out shows as a conflict later.
            Err(error) if error.is_retryable() => {
                tracing::warn!(run.id = %self.run.id, %error, "lease not renewed");
                Ok(())
            }
            result => result,
        }
    }

    fn worked_millis(&self) -> u64 {
        let worked = self.worked_before + self.since.elapsed();
        u64::try_from(worked.as_millis()).unwrap_or(u64::MAX)
    }

    fn third(&self) -> Duration {
        let third = self.lease / 3;
        third.to_std().unwrap_or(Duration::from_secs(1))
    }

    fn renewed(&self) -> Run {
        let until = self.clock.now() + self.lease;
        Run {
            lease: self.run.lease.map(|lease| Lease { until, ..lease }),
            ..self.run.clone()
        }
    }

    /// `next` with what has happened, and the steps that tell of it.
    fn with_state(&self, mut next: Run, state: &State) -> (Run, Vec<Step>) {
        let steps = number(&mut next, state.unwritten(), self.clock.now());
        next.tokens = state.usage();
        next.cost_micros = state.cost_micros();
        next.worked_millis = self.worked_millis();
        (next, steps)
    }

    async fn put(&mut self, mut next: Run, steps: &[Step]) -> Result<()> {
        next.worked_millis = self.worked_millis();
        while !self.try_put(&next, steps).await? {
            next.version = self.run.version;
            // A run that is paused by this write has what was wanted.
            if next.status == RunStatus::Running {
                next.wanted = self.run.wanted;
            }
        }
        Ok(())
    }

    /// Writes, or learns why `next` has to be made anew and written again; `false` then.
    async fn try_put(&mut self, next: &Run, steps: &[Step]) -> Result<bool> {
        let write = || RunWrite {
            read: &self.run,
            run: next,
            steps,
            messages: &[],
            agent: None,
            audit: &[],
        };
        let mut written = self.store.write_run(write()).await;
        for pause in RETRIES {
            // What was just found out is worth more than a moment.
            if !matches!(&written, Err(error) if error.is_retryable()) {
                break;
            }
            tokio::time::sleep(pause).await;
            written = self.store.write_run(write()).await;
        }
        match written {
            Err(error) if is_lost(&error) => self.learn(next, error).await,
            Err(error) => Err(error),
            Ok(()) => {
                self.take_over(next);
                Ok(true)
            }
        }
    }

    fn take_over(&mut self, next: &Run) {
        self.run = Run {
            version: next.version + 1,
            ..next.clone()
        };
    }

    /// Finds out why `next` was refused: it is written already, and only the answer got lost; then this is `true`. Or an earlier
    /// renewal is, or somebody wants something of this worker: that is known now. Else `refusal` stands.
    async fn learn(&mut self, next: &Run, refusal: Error) -> Result<bool> {
        let run = &self.run;
        let stored = self.store.run_head(run.workspace_id, run.id).await?;
        let Some(stored) = stored else {
            return Err(refusal);
        };
        let holder = |run: &Run| run.lease.map(|lease| lease.holder);
        let is_ours = holder(&stored).is_some() && holder(&stored) == holder(next);
        if stored.version == run.version {
            if stored.wanted.is_none() || stored.wanted == run.wanted {
                return Err(refusal);
            }
            self.run.wanted = stored.wanted;
            Ok(false)
        } else if stored.version == run.version + 1 && is_ours && stored.steps == next.steps {
            self.take_over(next);
            self.run.wanted = stored.wanted;
            Ok(true)
        } else if stored.version == run.version + 1 && is_ours && stored.steps == run.steps {
            self.run.version = stored.version;
            self.run.showing = stored.showing;
            self.run.wanted = stored.wanted;
            Ok(false)
        } else {
            Err(refusal)
        }
    }
}

/// When a message takes a run on: once the lease has run out that stands in its head, or else when it is due. The due index may
/// tell an earlier time, since no renewal is written there.
pub fn wake_at(run: &Run) -> Option<DateTime<Utc>> {
    let due = run.due_at?;
    Some(run.lease.map_or(due, |lease| lease.until + SLACK))
}

/// Appends events to a run's journal: gives them their places and moves the head on.
pub(crate) fn number(run: &mut Run, events: &[StepEvent], now: DateTime<Utc>) -> Vec<Step> {
    let steps: Vec<Step> = (run.steps..)
        .zip(events)
        .map(|(index, event)| Step {
            index,
            at: now,
            event: event.clone(),
        })
        .collect();
    if let Some(last) = steps.last() {
        run.steps = last.index + 1;
        run.lost_leases = 0;
        run.showing = None;
    }
    steps
}

/// Whether a worker holds the run at `now`. Leases from before `abandoned_before` are of workers that are known to be gone.
pub(crate) fn is_held(
    run: &Run,
    now: DateTime<Utc>,
    abandoned_before: Option<DateTime<Utc>>,
) -> bool {
    run.lease
        .is_some_and(|lease| lease.until > now && !is_abandoned(&lease, abandoned_before))
}

pub(crate) fn is_abandoned(lease: &Lease, abandoned_before: Option<DateTime<Utc>>) -> bool {
    abandoned_before.is_some_and(|moment| lease.acquired_at < moment)
}

/// Lost the race for a run: not an error of anybody's.
pub(crate) fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Conflict(_))
}
