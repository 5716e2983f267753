//! A run in a worker's hands: every write moves it on, renews the lease, and fails when another writer was first.
//!
//! That the store is not available for a while is not the run's fault. A write that it cannot take is tried again until the lease
//! ends ([`writing`]); work that is waited for goes on meanwhile ([`heartbeat`]); and a worker that cannot go on gives the run back, so
//! that its lease does not count as lost.

mod blame;
mod heartbeat;
mod status;
mod writing;

use std::time::Duration;

use chrono::TimeDelta;
use domain::Result;
use domain::agent::Agent;
use domain::audit::Caller;
use domain::run::{Lease, Run, RunStatus, Step, StepEvent, StreamChunk, StreamChunkEvent};
use futures::future::join;
use runtime::Clock;
use store::{Store, WantedPlace};
use tokio::time::Instant;

pub(crate) use self::blame::Blame;
pub use self::blame::goes_alone;
use self::status::StatusEntry;
use crate::backoff::Backoff;
use crate::finish::{Ending, Known, count_usage, write_end};
use crate::machine::Machine;
use crate::places::Places;
use crate::run_head::{SLACK, SWEEP_AFTER, append_events, is_as, is_lost};

/// The time that a worker tries to give a run back that it cannot go on with.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(5);
/// The time that the end of a run waits for a write of its status.
const STATUS_WITHIN: Duration = Duration::from_secs(1);
/// The time for which an agent is taken to be as it was read. The end of a run that has lasted longer reads it again.
const AGENT_HOLDS: Duration = Duration::from_secs(1);

pub(crate) struct LeasedRun<'a> {
    pub(crate) run: Run,
    /// The pieces that have been shown of the answer that the journal waits for.
    shown: Shown,
    /// The time that workers have had the run before.
    pub(crate) worked_before: Duration,
    /// The time since which this one has it.
    pub(crate) since: Instant,
    /// The time when the lease is to be renewed.
    renewal: Instant,
    /// The time that the lease holds, as far as this worker knows.
    until: Instant,
    place: Place,
    entry: StatusEntry,
    /// Its agent, read when the lease was taken.
    pub(crate) agent: Option<Agent>,
    store: &'a Store,
    clock: &'a Clock,
    lease: TimeDelta,
}

/// The run's place among its organization's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// There is no limit.
    NotNeeded,
    Taken {
        number: u16,
        /// The time when it is to be renewed.
        renewal: Instant,
    },
    /// It was lent, or is another's for some other reason.
    Lost,
}

/// The pieces that have been shown of an answer on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    position: u32,
    pieces: u32,
    attempts: u32,
}

impl Shown {
    fn of(position: u32, chunks: &[StreamChunk]) -> Self {
        let attempts = chunks.iter().map(|chunk| match &chunk.event {
            StreamChunkEvent::ModelAsked { attempt, .. } => *attempt,
            StreamChunkEvent::Text { .. } => 0,
        });
        Self {
            position,
            pieces: chunks.last().map_or(0, |last| last.sequence + 1),
            attempts: attempts.max().unwrap_or(0),
        }
    }
}

impl<'a> LeasedRun<'a> {
    /// Takes the lease on a run that is free to be taken, and a `place` for it where one is needed; `None` when that is another's.
    pub(crate) async fn take(
        store: &'a Store,
        clock: &'a Clock,
        lease: TimeDelta,
        run: Run,
        blame: Blame,
        place: Option<WantedPlace>,
        places: &Places,
    ) -> Result<Option<Self>> {
        let now = clock.now();
        let taken = Run {
            status: RunStatus::Running,
            started_at: run.started_at.or(Some(now)),
            lost_leases: blame.lost_leases,
            abandoned_leases: blame.abandoned_leases,
            lease: Some(Lease {
                holder: rand::random(),
                acquired_at: now,
                alone: blame.alone,
                place: place.map(|place| place.number),
                until: now + lease,
            }),
            showing: None,
            // The tick need not look again for as long as the lease holds. It may have been about to leave the run alone for longer,
            // as one that waits in a long queue.
            due_at: run.due_at.map(|due| due.min(now + lease + SLACK)),
            ..run.clone()
        };
        let since = Instant::now();
        let mut held = Self {
            shown: Shown::default(),
            worked_before: Duration::from_millis(run.worked_millis),
            since,
            renewal: since,
            until: since + 2 * third_of(lease),
            place: place.map_or(Place::NotNeeded, |place| Place::Taken {
                number: place.number,
                renewal: since + third_of(lease),
            }),
            entry: StatusEntry::new(&run, since),
            agent: None,
            run,
            store,
            clock,
            lease,
        };
        if let Some(place) = place
            && !held.take_place(place).await?
        {
            return Ok(None);
        }
        if let Err(error) = held.put(taken.clone(), &[]).await {
            if let Some(place) = place
                && (!place.is_own || (is_lost(&error) && !held.is_others_place(place.number).await))
            {
                let (organization, run) = (held.run.organization_id, held.run.id);
                places.leave(organization, run, place.number).await;
            }
            if error.is_retryable() {
                held.run = taken;
                held.give_back_if_taken().await;
            }
            return Err(error);
        }
        Ok(Some(held))
    }

    /// Returns `true` unless the worker that was faster is known to have the run with another place: two that leave their places at
    /// once may keep one each for the same run.
    async fn is_others_place(&self, number: u16) -> bool {
        let (workspace, id) = (self.run.workspace_id, self.run.id);
        match self.store.run_head(workspace, id).await {
            Ok(stored) => stored.is_some_and(|run| {
                run.lease
                    .is_some_and(|lease| lease.place.is_none_or(|place| place == number))
            }),
            Err(_) => true,
        }
    }

    /// For a lease that may have been taken: the store has not said.
    async fn give_back_if_taken(mut self) {
        let mut backoff = Backoff::until(Instant::now() + GIVE_BACK_WITHIN);
        let (workspace, id) = (self.run.workspace_id, self.run.id);
        loop {
            match self.store.run_head(workspace, id).await {
                Ok(Some(stored)) if is_as(&stored, &self.run) => {
                    self.run.version = stored.version;
                    return self.give_back().await;
                }
                Err(error) if error.is_retryable() && backoff.wait().await => {}
                _ => return,
            }
        }
    }

    /// `chunks` were shown of an answer that never came.
    pub(crate) fn has_shown(&mut self, chunks: &[StreamChunk]) {
        self.shown = Shown::of(self.run.steps, chunks);
    }

    /// Stores what has happened. When what is wanted of this worker has changed meanwhile, calls that are about to be made are left
    /// for later: their intents are not stored, and a pause comes first.
    pub(crate) async fn write(&mut self, state: &mut impl Machine) -> Result<()> {
        let (next, steps) = self.with_state(self.renewed(), state);
        if self.try_put(&next, &steps).await? {
            state.written();
        } else {
            state.withdraw_intents();
        }
        Ok(())
    }

    /// Stores what has happened and gives the run back, for another worker to go on with at once.
    pub(crate) async fn release(&mut self, state: &mut impl Machine) -> Result<()> {
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

    /// Gives the run back as it is stored, since the store does not let this worker go on. The lease has not been lost then, which
    /// three times would end the run.
    pub(crate) async fn give_back(mut self) {
        // Also when it has run out: as long as no other worker has taken the run, this is true.
        self.until = Instant::now() + GIVE_BACK_WITHIN;
        let released = Run {
            lease: None,
            due_at: Some(self.clock.now() + SWEEP_AFTER),
            ..self.run.clone()
        };
        if let Err(error) = self.put(released, &[]).await
            && !is_lost(&error)
        {
            tracing::warn!(run.id = %self.run.id, %error, "run not given back");
        }
    }

    /// Stores what has happened and that the run is paused: no worker takes it before it is continued. `false` when the pause was
    /// taken back; nothing is stored then.
    pub(crate) async fn pause(&mut self, state: &mut impl Machine) -> Result<bool> {
        let now = self.clock.now();
        self.settle_status().await;
        while self.run.pause_requested {
            let mut paused = Run {
                status: RunStatus::Paused,
                pause_requested: false,
                lease: None,
                due_at: None,
                tokens: state.usage(),
                cost_micros: state.cost_micros(),
                worked_millis: self.worked_millis(),
                ..self.run.clone()
            };
            let events = [state.unwritten(), &[StepEvent::Paused]].concat();
            let steps = append_events(&mut paused, &events, now);
            if self.try_put(&paused, &steps).await? {
                state.written();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the run and leaves its place.
    pub(crate) async fn end(&mut self, ending: &Ending<'_>, places: &Places) -> Result<()> {
        let run = self.run.clone();
        let caller = Caller::system(run.organization_id, run.workspace_id);
        let known = Known {
            is_entered: self.settle_status().await,
            agent: (self.since.elapsed() < AGENT_HOLDS)
                .then_some(self.agent.take())
                .flatten(),
        };
        let writing = write_end(
            self.store, self.clock, run, known, ending, &caller, self.until,
        );
        let ended = writing.await?;
        join(count_usage(self.store, &ended), self.leave_place(places)).await;
        Ok(())
    }

    /// Waits for what is being written of the run's status; `true` if the run may have an entry there.
    pub(crate) async fn settle_status(&mut self) -> bool {
        let within = self.third().min(STATUS_WITHIN);
        self.entry.settled(within).await
    }

    /// Leaves the run's place, if it has one, to the next.
    pub(crate) async fn leave_place(&mut self, places: &Places) {
        if let Some(number) = self.place() {
            let run = &self.run;
            places.leave(run.organization_id, run.id, number).await;
            self.place = Place::Lost;
        }
    }

    /// The number of the place that the run has.
    pub(crate) fn place(&self) -> Option<u16> {
        match self.place {
            Place::Taken { number, .. } => Some(number),
            Place::NotNeeded | Place::Lost => None,
        }
    }

    /// Returns `true` if the run has a place, or needs none. One that was lent or lost is looked for again.
    pub(crate) async fn has_place(&mut self, places: &Places) -> Result<bool> {
        if self.place != Place::Lost {
            return Ok(true);
        }
        let Some(number) = places.retake(&self.run, self.lease).await? else {
            return Ok(false);
        };
        let renewal = Instant::now() + self.third();
        self.place = Place::Taken { number, renewal };
        Ok(true)
    }

    /// The number of times that a model has been asked for the answer that the journal waits for.
    pub(crate) fn attempts(&mut self) -> u32 {
        if self.shown.position != self.run.steps {
            self.shown = Shown {
                position: self.run.steps,
                ..Shown::default()
            };
        }
        self.shown.attempts
    }

    fn worked_millis(&self) -> u64 {
        let worked = self.worked_before + self.since.elapsed();
        u64::try_from(worked.as_millis()).unwrap_or(u64::MAX)
    }

    fn renewed(&self) -> Run {
        let until = self.clock.now() + self.lease;
        Run {
            lease: self.run.lease.map(|lease| Lease { until, ..lease }),
            ..self.run.clone()
        }
    }

    /// `next` with what has happened, and the steps that tell of it.
    fn with_state(&self, mut next: Run, state: &impl Machine) -> (Run, Vec<Step>) {
        let steps = append_events(&mut next, state.unwritten(), self.clock.now());
        next.tokens = state.usage();
        next.cost_micros = state.cost_micros();
        next.worked_millis = self.worked_millis();
        (next, steps)
    }

    fn third(&self) -> Duration {
        third_of(self.lease)
    }
}

fn third_of(lease: TimeDelta) -> Duration {
    let third = lease / 3;
    third.to_std().unwrap_or(Duration::from_secs(1))
}
