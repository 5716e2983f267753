//! Handing places on: a place that is left goes to the run that has lent it, else to the one that has waited longest.

use std::time::Duration;

use domain::Result;
use domain::ids::{OrganizationId, RunId};
use domain::message::Advance;
use domain::run::RunStatus;
use rand::RngExt;
use store::{Left, RunPlace, RunPlaces};

use super::{KEPT_FOR, Places, has_place};
use crate::run_head::is_held;

impl Places {
    /// Leaves a run's place, to the run that has waited longest. Should that fail, the place ends by itself.
    pub(crate) async fn leave(&self, organization: OrganizationId, run: RunId, number: u16) {
        if let Err(error) = self.try_leave(organization, run, number).await {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(run.id = %run, %error, source, "a place was not left");
        }
    }

    async fn try_leave(&self, organization: OrganizationId, run: RunId, number: u16) -> Result<()> {
        match self
            .store
            .leave_run_place(organization, run, number)
            .await?
        {
            Left::Free | Left::NotOurs => return Ok(()),
            Left::Wanted => {}
        }
        let found = self.look(organization).await?;
        let mut places = found.places.iter();
        let own = places.find(|place| place.number == number && place.holder.run_id == run);
        let Some(own) = own else {
            return Ok(());
        };
        if self.give_back_to_lender(organization, &found, own).await? {
            return Ok(());
        }
        // The limit may have been lowered since.
        let may_be_handed_on = self.limit.is_some_and(|limit| number < limit);
        let handed_on = Some(own).filter(|_| may_be_handed_on);
        if self.hand_out(organization, &found, handed_on).await? {
            return Ok(());
        }
        let left = self.store.give_up_run_place(organization, run, number);
        if left.await? {
            // A run may have begun to wait since that look.
            let found = self.look(organization).await?;
            self.hand_out(organization, &found, None).await?;
        }
        Ok(())
    }

    /// A place that was kept for a run which has no need of it: it is over, or has another.
    pub(crate) async fn decline(&self, organization: OrganizationId, run: RunId, number: u16) {
        self.waits_no_more(organization, run).await;
        let found = match self.look(organization).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(run.id = %run, %error, "a place was not declined");
                return;
            }
        };
        let kept = found
            .places
            .iter()
            .any(|place| place.number == number && place.holder.run_id == run && !place.is_taken);
        if kept {
            self.leave(organization, run, number).await;
        }
    }

    /// Gives a place back to the last of those that have lent it and still run; `false` when there is none.
    async fn give_back_to_lender(
        &self,
        organization: OrganizationId,
        found: &RunPlaces,
        own: &RunPlace,
    ) -> Result<bool> {
        let now = self.clock.now();
        let mut lenders = own.lenders.clone();
        while let Some(lender) = lenders.pop() {
            if has_place(found, &lender, now) {
                continue;
            }
            let head = self.store.run_head(lender.workspace_id, lender.run_id);
            let Some(head) = head.await? else { continue };
            if !matches!(head.status, RunStatus::Queued | RunStatus::Running) {
                continue;
            }
            let back = RunPlace {
                holder: lender,
                until: now + KEPT_FOR,
                // Its worker comes for it, or its message does.
                is_taken: true,
                lenders,
                ..own.clone()
            };
            let waits = !is_held(&head, now, None);
            let given = self.hand(organization, Some(own.holder.run_id), &back, waits);
            given.await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Keeps a place that is `left` for the run that has waited longest: whether there was one. Free places are found by every worker
    /// that looks; each keeps one of them for one of the next runs, so that many workers which look at once do not all do the same.
    pub(super) async fn hand_out(
        &self,
        organization: OrganizationId,
        found: &RunPlaces,
        left: Option<&RunPlace>,
    ) -> Result<bool> {
        let now = self.clock.now();
        let waiting = found.waiting.iter();
        let mut waiting = waiting.filter(|run| !has_place(found, run, now));
        let kept = |number, run| RunPlace {
            number,
            holder: run,
            until: now + KEPT_FOR,
            is_taken: false,
            lenders: Vec::new(),
            is_awaited: true,
        };
        let mut is_left_used = false;
        if let Some(left) = left
            && let Some(run) = waiting.next()
        {
            let (from, kept) = (Some(left.holder.run_id), kept(left.number, *run));
            is_left_used = self.hand(organization, from, &kept, true).await?;
        }
        let pairs: Vec<_> = self.free(found, now).into_iter().zip(waiting).collect();
        if !pairs.is_empty() {
            let (number, run) = pairs[rand::rng().random_range(0..pairs.len())];
            let kept = kept(number, *run);
            self.hand(organization, None, &kept, true).await?;
        }
        Ok(is_left_used)
    }

    /// Makes a place another run's, and sends that run's message if it `waits` for one.
    pub(super) async fn hand(
        &self,
        organization: OrganizationId,
        from: Option<RunId>,
        place: &RunPlace,
        waits: bool,
    ) -> Result<bool> {
        let number = place.number;
        let now = self.clock.now();
        let handed = self
            .store
            .hand_run_place(organization, number, from, place, now);
        if !handed.await? {
            return Ok(false);
        }
        if waits {
            let message = Advance {
                organization_id: organization,
                workspace_id: place.holder.workspace_id,
                run_id: place.holder.run_id,
                abandoned_before: None,
                alone: false,
                attempt: 0,
                place: Some(number),
            };
            if let Err(error) = self.queue.send(message, Duration::ZERO).await {
                tracing::warn!(run.id = %place.holder.run_id, %error, "run with a place not announced; the next one that leaves finds it");
            }
        }
        Ok(true)
    }
}
