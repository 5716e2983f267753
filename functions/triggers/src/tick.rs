//! The tick: work that is due, once a minute.
//!
//! * Re-enqueues runs whose lease has expired, and, with a delay, those whose lease expires before the next tick. A worker that is still
//!   alive ignores the message. The index tells when to look; the head tells when the lease ends.
//! * An agent whose schedule is due is started. Schedules fire on the minute and ticks come each minute, not on it: a firing may
//!   be up to a minute late.
//! * A token that has run out gets its `expired` log row.
//!
//! Beside that it counts the requests of the last minutes by the request log, and keeps the data keys wrapped by the master secret as it is
//! now, so that a rotation needs no requests to be safe.
//!
//! A failing item is logged and stops no other. Two ticks at once do no harm: whatever must happen once is claimed by a
//! conditional write.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::audit::Caller;
use domain::ids::{AgentId, OrganizationId, RunId, TokenId, WorkspaceId};
use domain::message::Advance;
use domain::run::{Lease, Run, RunStatus};
use domain::token::{Token, TokenAction, TokenState};
use domain::{Error, Result};
use engine::{RunQueue, Starter};
use futures::StreamExt;
use futures::future::join3;
use keyring::Vault;
use runtime::{Clock, Lambda, Services};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{DueItem, DueKind, Store, TokenAuditEntry};

use crate::request_counts::count_requests;

/// The time that a tick looks ahead: to the next.
const AHEAD: TimeDelta = TimeDelta::seconds(60);
/// A firing this close is waited for rather than left to the next tick.
const WAIT: TimeDelta = TimeDelta::seconds(1);
/// The part of each partition of the due index that is read at once.
const LIMIT: usize = 1_000;
/// The number of items that are worked on at once.
const CONCURRENCY: usize = 16;
/// The time that one item may take.
const ITEM_TIME: TimeDelta = TimeDelta::seconds(5);
/// The longest time until an overdue run that waits in a long queue is looked at again.
const MAX_QUEUE_WAIT: TimeDelta = TimeDelta::minutes(10);

/// The input from the schedule, or from a platform that starts.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Input {
    /// Workers and messages from before this moment are known to be gone.
    #[serde(default)]
    abandoned_before: Option<DateTime<Utc>>,
    /// The request log is known to have all requests from before this moment; else those of the last half minute are left to the next
    /// tick.
    #[serde(default)]
    settled_before: Option<DateTime<Utc>>,
}

/// The counts of a tick.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Summary {
    /// Messages sent.
    runs: u32,
    /// Schedules fired.
    agents: u32,
    /// Expiries recorded.
    tokens: u32,
    /// Requests counted.
    requests: usize,
}

/// Builds the function that the schedule invokes.
///
/// # Errors
/// `RUN_QUEUE_URL` is not set.
pub async fn tick(services: Services) -> Result<Lambda, runtime::Error> {
    let store = Store::new(&services);
    let queue = RunQueue::new(&services)?;
    let starter = Starter::new(store.clone(), queue.clone(), services.clock.clone());
    let vault = Vault::new(services.clone(), store.clone());
    Ok(Lambda::event(move |input, invocation| {
        let (store, clock) = (store.clone(), services.clock.clone());
        let vault = vault.clone();
        let (starter, queue) = (starter.clone(), queue.clone());
        async move {
            let input: Input = if input.is_null() {
                Input::default()
            } else {
                serde_json::from_value(input)?
            };
            let tick = Tick {
                store,
                starter,
                queue,
                clock,
                abandoned_before: input.abandoned_before,
                deadline: invocation.deadline,
            };
            let settled_before = input.settled_before;
            let counted = count_requests(&tick.store, &tick.clock, tick.deadline, settled_before);
            let (summary, counted, kept) = join3(tick.run(), counted, vault.keep_wrapped()).await;
            if let Err(error) = kept {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, source, metric = "data_keys_failed", "the data keys could not be kept wrapped");
            }
            let requests = counted.unwrap_or_else(|error| {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, source, "requests not counted");
                0
            });
            let summary = Summary {
                requests,
                ..summary?
            };
            tracing::info!(
                due.runs = summary.runs,
                due.agents = summary.agents,
                due.tokens = summary.tokens,
                requests = summary.requests,
                "tick"
            );
            Ok::<Value, runtime::Error>(serde_json::to_value(summary)?)
        }
    }))
}

struct Tick {
    store: Store,
    starter: Starter,
    queue: RunQueue,
    clock: Clock,
    abandoned_before: Option<DateTime<Utc>>,
    deadline: DateTime<Utc>,
}

impl Tick {
    async fn run(&self) -> Result<Summary> {
        // Queues may have lost their messages with the workers: then every run is looked at that could wait for one.
        let ahead = if self.abandoned_before.is_some() {
            MAX_QUEUE_WAIT
        } else {
            AHEAD
        };
        let mut summary = Summary::default();
        let until = self.clock.now() + ahead;
        let mut seen = HashSet::new();
        while self.has_time() {
            let due = self.store.due(until, LIMIT).await?;
            let may_be_more = due.len() >= LIMIT;
            // What was handled may still be in the index for a moment, and what is not due yet stays there.
            let fresh: Vec<DueItem> = due
                .into_iter()
                .filter(|item| seen.insert(item.kind))
                .collect();
            if fresh.is_empty() {
                break;
            }
            let mut done = futures::stream::iter(in_turn(fresh))
                .map(|item| self.handle(item))
                .buffer_unordered(CONCURRENCY);
            while let Some((kind, acted)) = done.next().await {
                let count = match kind {
                    DueKind::Run(..) => &mut summary.runs,
                    DueKind::Agent(..) => &mut summary.agents,
                    DueKind::Token(..) => &mut summary.tokens,
                };
                *count += u32::from(acted);
            }
            if !may_be_more {
                break;
            }
        }
        Ok(summary)
    }

    fn has_time(&self) -> bool {
        self.deadline - self.clock.now() > ITEM_TIME
    }

    /// Returns `true` if anything was done about the item.
    async fn handle(&self, item: DueItem) -> (DueKind, bool) {
        if !self.has_time() {
            return (item.kind, false);
        }
        let result = match item.kind {
            DueKind::Run(workspace, id) => self.wake(workspace, id).await,
            DueKind::Agent(workspace, id) => self.fire(workspace, id, item.at).await,
            // Not yet: what is left of its time is the next tick's.
            DueKind::Token(..) if item.at > self.clock.now() => Ok(false),
            DueKind::Token(organization, id) => self.expire(organization, id).await,
        };
        let acted = result.unwrap_or_else(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(due.item = ?item.kind, %error, source, "due item failed");
            false
        });
        (item.kind, acted)
    }

    async fn wake(&self, workspace: WorkspaceId, id: RunId) -> Result<bool> {
        let Some(run) = self.store.run_head(workspace, id).await? else {
            return Ok(false);
        };
        let runnable = matches!(run.status, RunStatus::Queued | RunStatus::Running);
        let Some(wake_at) = engine::wake_at(&run).filter(|_| runnable) else {
            return Ok(false);
        };
        let now = self.clock.now();
        let is_overdue = run.due_at.is_some_and(|due| due <= now);
        if is_overdue && !self.claim(&run, wake_at, now).await? {
            return Ok(false);
        }
        let is_abandoned = |lease: &Lease| {
            let moment = self.abandoned_before;
            moment.is_some_and(|moment| lease.acquired_at < moment)
        };
        let at_once =
            self.abandoned_before.is_some() && run.lease.as_ref().is_none_or(is_abandoned);
        let delay = if at_once {
            TimeDelta::zero()
        } else {
            (wake_at - now).max(TimeDelta::zero())
        };
        if delay > AHEAD {
            return Ok(false);
        }
        let message = Advance {
            abandoned_before: self.abandoned_before,
            // Where the message comes to something, the lease has run out by then.
            alone: engine::goes_alone(&run, self.abandoned_before),
            ..Advance::of(&run)
        };
        // A message that comes before the lease's end comes to nothing.
        let delay = delay.to_std().unwrap_or_default();
        self.queue.send(message, delay).await?;
        Ok(true)
    }

    /// Moves an overdue run's due time on, so that the next tick leaves it to the message that is about to be sent.
    async fn claim(&self, run: &Run, wake_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<bool> {
        // A run that has waited long waits in a long queue, which more messages would only make longer.
        let patience = if run.status == RunStatus::Queued {
            (now - run.created_at).clamp(AHEAD, MAX_QUEUE_WAIT)
        } else {
            AHEAD
        };
        let until = wake_at.max(now + patience);
        unless_lost(self.store.postpone(run, until).await)
    }

    async fn fire(&self, workspace: WorkspaceId, id: AgentId, at: DateTime<Utc>) -> Result<bool> {
        let early = at - self.clock.now();
        if early > WAIT {
            return Ok(false);
        }
        tokio::time::sleep(early.to_std().unwrap_or_default()).await;
        let mut fired = false;
        // Of a schedule that fires every minute, two may be due.
        while self.has_time() {
            let Some(agent) = self.store.agent(workspace, id).await? else {
                break;
            };
            let workspace = self.store.workspace(agent.organization_id, workspace);
            if workspace.await?.is_none() {
                // It was deleted, and its agents' rows have yet to go.
                break;
            }
            if self.starter.fire(&agent).await?.is_none() {
                break;
            }
            fired = true;
        }
        Ok(fired)
    }

    async fn expire(&self, organization: OrganizationId, id: TokenId) -> Result<bool> {
        let Some(token) = self.store.token(organization, id).await? else {
            return Ok(false);
        };
        let now = self.clock.now();
        let expired = token.expires_at.is_some_and(|at| at <= now);
        if !expired || token.expiry_recorded || token.state == TokenState::Revoked {
            return Ok(false);
        }
        let recorded = Token {
            expiry_recorded: true,
            ..token.clone()
        };
        let caller = Caller::system(token.organization_id, token.workspace_id);
        let log = TokenAuditEntry::new(TokenAction::Expired, &caller, now);
        unless_lost(
            self.store
                .update_token(&token, &recorded, Some(&log), None, now)
                .await,
        )
    }
}

/// The due items, the first of every tenant before the second of any: one that has much to be done holds up no other.
fn in_turn(due: Vec<DueItem>) -> Vec<DueItem> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut turns: Vec<(usize, DueItem)> = due
        .into_iter()
        .map(|item| {
            let turn = seen.entry(tenant(&item.kind)).or_default();
            *turn += 1;
            (*turn, item)
        })
        .collect();
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, item)| item).collect()
}

fn tenant(kind: &DueKind) -> String {
    match kind {
        DueKind::Run(workspace, _) | DueKind::Agent(workspace, _) => workspace.to_string(),
        DueKind::Token(organization, _) => organization.to_string(),
    }
}

/// `false` when another writer was first.
fn unless_lost(written: Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_much_to_be_done_holds_up_no_other() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let (busy, quiet) = (WorkspaceId::new(at(1)), WorkspaceId::new(at(2)));
        let run = |workspace, seconds| DueItem {
            at: at(seconds),
            kind: DueKind::Run(workspace, RunId::new(at(seconds))),
        };
        let due = [
            run(busy, 3),
            run(busy, 4),
            run(busy, 5),
            run(quiet, 6),
            run(quiet, 7),
        ];
        let order: Vec<_> = in_turn(due.to_vec()).iter().map(|item| item.at).collect();
        assert_eq!(order, [3, 6, 4, 7, 5].map(at));
    }
}
