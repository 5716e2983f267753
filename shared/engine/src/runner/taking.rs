//! Taking a run on, with a lease and a place, and leaving both.

use domain::Result;
use domain::message::Advance;
use domain::run::Run;
use futures::future::join;
use store::{LoadedRun, RunContext};

use super::Runner;
use crate::calls::Deadlines;
use crate::finish::Ending;
use crate::lease::{Blame, LeasedRun};
use crate::places::TRIES;
use crate::progress::Progress;
use crate::run_head::is_held;
use crate::stop::{in_doubt, stop_note};

/// The inputs of a run: what it follows, and its journal.
type Follows = Result<(RunContext, Result<LoadedRun>)>;

/// A run that was taken, and what it follows.
type Taken<'a> = (LeasedRun<'a>, Follows);

impl Runner {
    /// Takes the lease on a run, with a place for it, and reads what it follows; `None` when it has to wait for a place.
    pub(super) async fn take(
        &self,
        run: &Run,
        message: &Advance,
        blame: Blame,
    ) -> Result<Option<Taken<'_>>> {
        let (store, clock, places) = (&self.store, &self.clock, &self.places);
        let take =
            |place| LeasedRun::take(store, clock, self.lease, run.clone(), blame, place, places);
        // The journal is that of the head: when it has grown meanwhile, the lease is refused.
        let read = || store.run_with_context(run);
        // There may be places kept from before the limit was taken away.
        let first = places.first(run, message).filter(|_| places.are_needed());
        if first.is_some() || !places.are_needed() {
            let (taken, follows) = join(take(first), read()).await;
            if let Some(held) = taken? {
                // What was kept for it was so while it waited.
                if message.place.is_some() {
                    places.waits_no_more(run.organization_id, run.id).await;
                }
                return Ok(Some((held, follows)));
            }
        }
        for _ in 0..TRIES {
            let Some(place) = places.queue_up(run).await? else {
                return Ok(None);
            };
            if let Some(held) = take(Some(place)).await? {
                places.waits_no_more(run.organization_id, run.id).await;
                return Ok(Some((held, read().await)));
            }
        }
        Ok(None)
    }

    /// Goes on with a run that was taken, and leaves its place at the end.
    pub(super) async fn carry_on(
        &self,
        mut held: LeasedRun<'_>,
        follows: Follows,
        deadlines: Deadlines<'_>,
    ) -> Result<Progress> {
        let done = async {
            let (context, journal) = follows?;
            held.agent = context.agent;
            if let Some(target) = context.deletion {
                let in_doubt = match &journal {
                    // No journal keeps a run from being stopped.
                    Ok(journal) => in_doubt(&journal.steps).unwrap_or_default(),
                    Err(_) => None,
                };
                let note = stop_note(Some(target.reason()), in_doubt);
                let ending = Ending::stopped(&held.run, note);
                held.end(&ending, &self.places).await?;
                return Ok(Progress::Finished);
            }
            self.begin(&mut held, context.version, journal?, deadlines)
                .await
        };
        let done = done.await;
        let is_entered = held.settle_status().await;
        match &done {
            // The place is for the worker that goes on at once.
            Ok(Progress::Yielded { .. }) => {}
            Ok(_) => held.leave_place(&self.places).await,
            Err(error) if error.is_retryable() => {
                held.leave_place(&self.places).await;
                held.give_back().await;
            }
            // Another worker that has the run by now has its place too.
            Err(_) => {
                let run = &held.run;
                let stored = self.store.run_head(run.workspace_id, run.id).await;
                let holder = |run: &Run| run.lease.map(|lease| lease.holder);
                let is_free = |stored: &Run| {
                    !is_held(stored, self.clock.now(), None) || holder(stored) == holder(run)
                };
                if let Ok(Some(stored)) = &stored
                    && is_entered
                {
                    // The run may have been ended before this worker entered it.
                    self.store.leave_running(run, stored).await;
                }
                if matches!(stored, Ok(stored) if stored.as_ref().is_none_or(is_free)) {
                    held.leave_place(&self.places).await;
                }
            }
        }
        done
    }

    /// The progress of a run without a place that was given back.
    pub(super) async fn wait_for_place(&self, run: &Run) -> Result<Progress> {
        Ok(match self.places.queue_up(run).await? {
            // One that has become free just now.
            Some(_) => {
                self.places.waits_no_more(run.organization_id, run.id).await;
                Progress::Yielded { place: None }
            }
            None => Progress::Waiting,
        })
    }
}
