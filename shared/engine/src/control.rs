//! Stopping, pausing and continuing runs, whether or not a worker holds them.
//!
//! A run that no worker holds is changed at once. A stop is written over a worker's head, whose next write then fails: it stops
//! there. A pause is left beside the head for the worker to find, which first completes the call that is under way: without a
//! stored result its outcome would be unknown.

use domain::audit::{AuditEntry, Caller};
use domain::ids::{RunId, WorkspaceId};
use domain::run::{Run, RunStatus, StepEvent};
use domain::{Error, Result};
use runtime::Clock;
use store::{RunWrite, Store};

use crate::Starter;
use crate::run_head::{SWEEP_AFTER, append_events, in_state, is_held, is_lost};
use crate::stop::stop;

/// The number of times that a change is tried against a worker that keeps writing.
const ATTEMPTS: u32 = 20;

/// Control of runs that are under way, by people. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    store: Store,
    clock: Clock,
    starter: Starter,
}

impl Control {
    pub fn new(store: Store, clock: Clock, starter: Starter) -> Self {
        Self {
            store,
            clock,
            starter,
        }
    }

    /// Ends a run where it stands. Of a call that is under way nothing more is learned; the run's error says so when it may have
    /// taken effect. Stopping a stopped run gives it as it is.
    ///
    /// # Errors
    /// `NotFound`; `Refused` when the run has completed or failed.
    pub async fn stop(&self, workspace: WorkspaceId, id: RunId, caller: &Caller) -> Result<Run> {
        stop(&self.store, &self.clock, workspace, id, None, caller).await
    }

    /// Pauses a run before its next step; how it stands is told at once, which may be `running` while a call is under way.
    ///
    /// # Errors
    /// `NotFound`; `Refused` when the run is neither queued nor running.
    pub async fn pause(&self, workspace: WorkspaceId, id: RunId, caller: &Caller) -> Result<Run> {
        for _ in 0..ATTEMPTS {
            let run = self.head(workspace, id).await?;
            if !matches!(run.status, RunStatus::Queued | RunStatus::Running) {
                return Err(in_state(&run, "be paused"));
            }
            let is_held = is_held(&run, self.clock.now(), None);
            let changed = if is_held && run.pause_requested {
                return Ok(run);
            } else if is_held {
                let wanted = Run {
                    pause_requested: true,
                    ..run.clone()
                };
                let audit = self.audit(&wanted, "run.paused", caller);
                self.store
                    .request_pause(&run, true, &audit)
                    .await
                    .map(|()| wanted)
            } else {
                let paused = Run {
                    status: RunStatus::Paused,
                    lease: None,
                    due_at: None,
                    ..run.clone()
                };
                self.write(&run, paused, StepEvent::Paused, "run.paused", caller)
                    .await
            };
            match changed {
                Err(error) if is_lost(&error) => {}
                result => return result,
            }
        }
        Err(Error::unavailable("the run kept moving on"))
    }

    /// Lets a paused run go on from where it stands, or takes a pause back that has not begun yet.
    ///
    /// # Errors
    /// `NotFound`; `Refused` when the run is not paused and no pause is wanted.
    pub async fn resume(&self, workspace: WorkspaceId, id: RunId, caller: &Caller) -> Result<Run> {
        for _ in 0..ATTEMPTS {
            let run = self.head(workspace, id).await?;
            let resumed = if run.status == RunStatus::Paused {
                self.go_on(&run, caller).await
            } else if !run.status.is_final() && run.pause_requested {
                let audit = self.audit(&run, "run.continued", caller);
                let unwanted = Run {
                    pause_requested: false,
                    ..run.clone()
                };
                let withdrawn = self.store.request_pause(&run, false, &audit);
                withdrawn.await.map(|()| unwanted)
            } else {
                return Err(in_state(&run, "be continued"));
            };
            match resumed {
                Err(error) if is_lost(&error) => {}
                result => return result,
            }
        }
        Err(Error::unavailable("the run kept moving on"))
    }

    async fn go_on(&self, run: &Run, caller: &Caller) -> Result<Run> {
        let running = Run {
            status: if run.started_at.is_some() {
                RunStatus::Running
            } else {
                RunStatus::Queued
            },
            due_at: Some(self.clock.now() + SWEEP_AFTER),
            ..run.clone()
        };
        let running = self.write(run, running, StepEvent::Continued, "run.continued", caller);
        let running = running.await?;
        self.starter.announce(&running).await;
        Ok(running)
    }

    async fn head(&self, workspace: WorkspaceId, id: RunId) -> Result<Run> {
        let run = self.store.run_head(workspace, id).await?;
        run.ok_or(Error::NotFound("execution"))
    }

    /// Writes a run that no worker holds over the one that was `read`, `next` being as it shall be but for its journal.
    async fn write(
        &self,
        read: &Run,
        mut next: Run,
        event: StepEvent,
        action: &'static str,
        caller: &Caller,
    ) -> Result<Run> {
        next.pause_requested = false;
        let steps = append_events(&mut next, &[event], self.clock.now());
        let audit = self.audit(&next, action, caller);
        let write = RunWrite {
            read,
            run: &next,
            is_entered: true,
            steps: &steps,
            messages: &[],
            agent: None,
            audit: &[audit],
        };
        self.store.write_run(write).await?;
        next.version += 1;
        Ok(next)
    }

    fn audit(&self, run: &Run, action: &'static str, caller: &Caller) -> AuditEntry {
        AuditEntry::new(caller, action, "run", run.id, self.clock.now())
    }
}
