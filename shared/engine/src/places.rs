//! Places: how many runs of an organization are worked on at once.
//!
//! All organizations share the workers, and the slow runs of one must not hold them all. So an organization has a number of places,
//! and a run is taken on with a place or not at all:
//!
//! * A place is an item of a number, taken before the lease, renewed with it, and over with it: that of a worker that was killed frees
//!   itself. A run tries one place at random, which costs an organization with room to spare no read
//!   and no round trip. Only a refusal makes its worker look at all of them.
//! * A run that finds no place gets into a list, and its message is done with: it holds no worker, and no message comes again and
//!   again until it is given up. First it is put into the list, then all places are looked at once more and marked as awaited: a
//!   worker that leaves a place either sees the run or had left before that look.
//! * A worker that leaves an awaited place keeps it for the run that has waited longest, and sends that run's message. The run stays
//!   in the list until a worker has taken it, since the message may get lost; a kept place ends soon, and the next one that is left
//!   finds the run again. Behind it all is the sweep: a run that waits is queued, and due as before.
//! * A run that waits for a run that it has started lends it its place, and has it back when that one ends. Else runs that wait for
//!   their children could hold all places, and the children none.
//!
//! The limit is one of fairness: should the clocks of workers differ, or a worker hang for longer than its lease, a place may have
//! two runs for a moment.

mod handing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::ids::{OrganizationId, RunId};
use domain::message::Advance;
use domain::run::{Run, RunStatus};
use futures::{StreamExt, TryStreamExt, stream};
use rand::RngExt;
use rand::seq::IndexedRandom;
use runtime::Clock;
use store::{RunPlace, RunPlaces, Store, Waiting, WantedPlace};
use tokio::time::Instant;
use tools::CallingRun;

use crate::queue::RunQueue;

/// The time that a place is kept for a run whose message was sent, and may be behind many others of its organization.
const KEPT_FOR: TimeDelta = TimeDelta::seconds(60);
/// The number of waiting runs that are looked at.
const LOOKED_AT: usize = 25;
/// The number of the first runs that wait which mark the places as awaited; those behind them need not.
const MARKING: usize = 3;
/// The number of places that are marked side by side.
const MARKED_AT_ONCE: usize = 16;
/// The number of times that a run tries to get a place that others get before it.
pub(crate) const TRIES: u32 = 4;
/// The time that an organization whose places were all taken is believed to have none.
const FULL_FOR: Duration = Duration::from_secs(1);
/// A run that is queued for longer than this has mostly found no place before.
const LIKELY_WAITING: TimeDelta = TimeDelta::seconds(10);
/// The number of organizations without places that this process remembers.
const REMEMBERED: usize = 1_000;

/// The places of organizations. Cheap to clone.
#[derive(Clone)]
pub struct Places {
    store: Store,
    clock: Clock,
    queue: RunQueue,
    limit: Option<u16>,
    /// The times when the organizations' places were last seen to be all taken.
    full: Arc<Mutex<HashMap<OrganizationId, Instant>>>,
}

impl Places {
    /// `limit`: how many runs of an organization are worked on at once, at most; `None` for as many as there are workers.
    pub fn new(store: Store, clock: Clock, queue: RunQueue, limit: Option<u16>) -> Self {
        Self {
            store,
            clock,
            queue,
            limit,
            full: Arc::default(),
        }
    }

    /// Returns `true` if runs need places at all.
    pub(crate) fn are_needed(&self) -> bool {
        self.limit.is_some()
    }

    /// The place that a run tries first; `None` when it is likely that there is none for it.
    pub(crate) fn first(&self, run: &Run, message: &Advance) -> Option<WantedPlace> {
        if let Some(number) = message.place {
            let is_own = true;
            return Some(WantedPlace { number, is_own });
        }
        let is_late =
            run.status == RunStatus::Queued && self.clock.now() - run.created_at > LIKELY_WAITING;
        if is_late || self.was_full(run.organization_id) {
            return None;
        }
        Some(WantedPlace {
            number: rand::rng().random_range(0..self.limit?),
            is_own: false,
        })
    }

    /// Puts a run into the list of those that wait, and looks for a place once more: `None` when the run has to wait. One that
    /// gets a place has to be taken out of the list again.
    pub(crate) async fn queue_up(&self, run: &Run) -> Result<Option<WantedPlace>> {
        let organization = run.organization_id;
        let now = self.clock.now();
        self.store.wait_for_run_place(run, now).await?;
        for _ in 0..TRIES {
            let found = self.look(organization).await?;
            if let Some(wanted) = self.choose(&found, run.id, now) {
                return Ok(Some(wanted));
            }
            // The worker that left a place may not have seen those before this run.
            self.hand_out(organization, &found, None).await?;
            self.seen_full(organization);
            if place_in_line(&found, run.id, now) >= MARKING {
                return Ok(None);
            }
            let unmarked = found
                .places
                .iter()
                .filter(|place| place.is_held(now) && !place.is_awaited)
                .map(|place| self.store.await_run_place(organization, place.number));
            let marks: Vec<_> = unmarked.collect();
            let marks = stream::iter(marks).buffer_unordered(MARKED_AT_ONCE);
            let marked: Vec<bool> = marks.try_collect().await?;
            // One that was left before it was marked is free now.
            if marked.into_iter().all(|marked| marked) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Takes a run out of the list. Should that fail, it is found to have a place when its turn comes.
    pub(crate) async fn waits_no_more(&self, organization: OrganizationId, run: RunId) {
        if let Err(error) = self.store.waits_no_more(organization, run).await {
            tracing::warn!(run.id = %run, %error, "run still in the list of those that wait");
        }
    }

    /// A place for a run that is held, in place of one that it has lent or lost; `None` when there is none.
    pub(crate) async fn retake(&self, run: &Run, lease: TimeDelta) -> Result<Option<u16>> {
        for _ in 0..TRIES {
            let now = self.clock.now();
            let found = self.look(run.organization_id).await?;
            let Some(wanted) = self.choose(&found, run.id, now) else {
                return Ok(None);
            };
            let taken = self.store.take_run_place(run, wanted, now, now + lease);
            if taken.await? {
                return Ok(Some(wanted.number));
            }
        }
        Ok(None)
    }

    /// Lends the place of a run that waits for `to`, if that has none and there is none for it.
    pub(crate) async fn lend(&self, by: &CallingRun, to: &Run) -> Result<()> {
        if self.limit.is_none() {
            return Ok(());
        }
        let organization = by.organization_id;
        let now = self.clock.now();
        let found = self.look(organization).await?;
        let of = |run: RunId| {
            let mut places = found.places.iter();
            places.find(|place| place.holder.run_id == run && place.is_held(now))
        };
        if of(to.id).is_some() {
            return Ok(());
        }
        if !self.free(&found, now).is_empty() {
            return self.hand_out(organization, &found, None).await.map(drop);
        }
        let Some(own) = of(by.id) else {
            return Ok(());
        };
        let lent = RunPlace {
            holder: Waiting::of(to),
            until: now + KEPT_FOR,
            is_taken: false,
            lenders: [&own.lenders[..], &[own.holder]].concat(),
            ..own.clone()
        };
        self.hand(organization, Some(by.id), &lent, true).await?;
        Ok(())
    }

    async fn look(&self, organization: OrganizationId) -> Result<RunPlaces> {
        let most = self.limit.unwrap_or(0);
        self.store.run_places(organization, most, LOOKED_AT).await
    }

    /// The run's own place, or a free one that no other run has waited longer for.
    fn choose(&self, found: &RunPlaces, run: RunId, now: DateTime<Utc>) -> Option<WantedPlace> {
        let mut places = found.places.iter();
        if let Some(own) = places.find(|place| place.holder.run_id == run) {
            return Some(WantedPlace {
                number: own.number,
                is_own: true,
            });
        }
        let free = self.free(found, now);
        if place_in_line(found, run, now) >= free.len() {
            return None;
        }
        Some(WantedPlace {
            number: *free.choose(&mut rand::rng())?,
            is_own: false,
        })
    }

    fn free(&self, found: &RunPlaces, now: DateTime<Utc>) -> Vec<u16> {
        let is_free = |number: &u16| {
            let mut places = found.places.iter();
            !places.any(|place| place.number == *number && place.is_held(now))
        };
        (0..self.limit.unwrap_or(0)).filter(is_free).collect()
    }

    fn was_full(&self, organization: OrganizationId) -> bool {
        let full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.get(&organization)
            .is_some_and(|seen| seen.elapsed() < FULL_FOR)
    }

    fn seen_full(&self, organization: OrganizationId) {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if full.len() >= REMEMBERED {
            full.retain(|_, seen| seen.elapsed() < FULL_FOR);
        }
        full.insert(organization, Instant::now());
    }
}

/// The number of waiting runs that come before this one and have no place yet.
fn place_in_line(found: &RunPlaces, run: RunId, now: DateTime<Utc>) -> usize {
    let before = found.waiting.iter().take_while(|other| other.run_id != run);
    before.filter(|other| !has_place(found, other, now)).count()
}

fn has_place(found: &RunPlaces, run: &Waiting, now: DateTime<Utc>) -> bool {
    let mut places = found.places.iter();
    places.any(|place| place.holder == *run && place.is_held(now))
}
