//! A run in a worker's hands: every write moves it on, renews the lease, and fails when somebody else has written since.

use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::run::{Lease, Run, RunStatus, Step, StepEvent};
use domain::{Error, Result};
use runtime::Clock;
use store::{RunWrite, Store};

use crate::machine::State;

/// How long after a lease's end the sweep looks: a worker that is late by this much is not disturbed.
const SLACK: TimeDelta = TimeDelta::seconds(2);

pub(crate) struct Held<'a> {
    pub(crate) run: Run,
    store: &'a Store,
    clock: &'a Clock,
    lease: TimeDelta,
}

impl<'a> Held<'a> {
    /// Takes the lease on a run that is free to be taken. `lost` leases have run out at its present step.
    pub(crate) async fn take(
        store: &'a Store,
        clock: &'a Clock,
        lease: TimeDelta,
        run: Run,
        lost: u8,
    ) -> Result<Self> {
        let now = clock.now();
        let run = Run {
            status: RunStatus::Running,
            started_at: run.started_at.or(Some(now)),
            lost_leases: lost,
            lease: Some(Lease {
                acquired_at: now,
                until: now,
            }),
            ..run
        };
        let mut held = Self {
            run,
            store,
            clock,
            lease,
        };
        held.put(held.renewed(), &[]).await?;
        Ok(held)
    }

    /// Stores what has happened.
    pub(crate) async fn write(&mut self, state: &mut State) -> Result<()> {
        self.put_state(self.renewed(), state).await
    }

    /// Stores what has happened and gives the run back, for another worker to go on with at once.
    pub(crate) async fn release(&mut self, state: &mut State) -> Result<()> {
        let released = Run {
            lease: None,
            due_at: Some(self.clock.now()),
            ..self.run.clone()
        };
        self.put_state(released, state).await
    }

    /// Waits for work that may outlast the lease, renewing it meanwhile.
    ///
    /// # Errors
    /// `Conflict` when the run is somebody else's by now; the work is dropped then.
    pub(crate) async fn keep_while<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        let third = self.lease / 3;
        let third = third.to_std().unwrap_or(Duration::from_secs(1));
        let mut work = pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(third, &mut work).await {
                return Ok(done);
            }
            match self.put(self.renewed(), &[]).await {
                // Two more renewals fit into the lease, and a lease that ran out shows as a conflict later.
                Err(error) if error.is_retryable() => {
                    tracing::warn!(run.id = %self.run.id, %error, "lease not renewed");
                }
                result => result?,
            }
        }
    }

    fn renewed(&self) -> Run {
        let until = self.clock.now() + self.lease;
        Run {
            lease: self.run.lease.map(|lease| Lease { until, ..lease }),
            due_at: Some(until + SLACK),
            ..self.run.clone()
        }
    }

    async fn put_state(&mut self, mut next: Run, state: &mut State) -> Result<()> {
        let steps = number(&mut next, state.unwritten(), self.clock.now());
        next.tokens = state.usage();
        next.cost_micros = state.cost_micros();
        self.put(next, &steps).await?;
        state.written();
        Ok(())
    }

    async fn put(&mut self, mut next: Run, steps: &[Step]) -> Result<()> {
        let write = RunWrite {
            run: &next,
            wanted: self.run.wanted,
            steps,
            messages: &[],
            agent: None,
            audit: &[],
        };
        self.store.write_run(write).await?;
        next.version += 1;
        self.run = next;
        Ok(())
    }
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
