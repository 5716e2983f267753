//! Stopping a run, whether or not a worker holds it: the stop is written over a worker's head, whose next write then fails.

use domain::audit::Caller;
use domain::ids::{RunId, WorkspaceId};
use domain::run::{Run, RunStatus, Step};
use domain::{Error, Result};
use runtime::Clock;
use store::{LoadedRun, Store};
use tokio::time::Instant;

use crate::agent_loop::State;
use crate::definition::Definition;
use crate::finish::{Ending, WITHOUT_A_LEASE, finish};
use crate::machine::Machine;
use crate::run_head::{in_state, is_lost};

/// The number of times that a stop is tried against a worker that keeps writing.
const ATTEMPTS: u32 = 20;

/// Ends a run where it stands; see [`crate::Control::stop`]. `why` is told in the run's error, before what is in doubt.
///
/// # Errors
/// `NotFound`; `Refused` when the run has completed or failed.
pub(crate) async fn stop(
    store: &Store,
    clock: &Clock,
    workspace: WorkspaceId,
    id: RunId,
    why: Option<&str>,
    caller: &Caller,
) -> Result<Run> {
    for _ in 0..ATTEMPTS {
        let (run, in_doubt) = with_doubts(store, workspace, id).await?;
        match run.status {
            RunStatus::Stopped => return Ok(run),
            status if status.is_final() => return Err(in_state(&run, "be stopped")),
            _ => {}
        }
        let ending = Ending::stopped(&run, stop_note(why, in_doubt));
        let until = Instant::now() + WITHOUT_A_LEASE;
        match finish(store, clock, run, &ending, caller, until).await {
            Err(error) if is_lost(&error) => {}
            result => return result,
        }
    }
    Err(Error::unavailable("the run kept moving on"))
}

/// The error of a stopped run: why, and what is in doubt.
pub(crate) fn stop_note(why: Option<&str>, in_doubt: Option<String>) -> Option<String> {
    match (why, in_doubt) {
        (Some(why), Some(in_doubt)) => Some(format!("{why}; {in_doubt}")),
        (why, in_doubt) => in_doubt.or_else(|| why.map(str::to_owned)),
    }
}

/// The part of a stopped run's error about calls whose outcome is not known after these steps.
///
/// # Errors
/// The steps make no sense.
pub(crate) fn in_doubt(steps: &[Step]) -> Result<Option<String>> {
    let state = State::replay(Definition::unknown(), steps).map_err(Error::internal)?;
    let in_doubt: Vec<_> = state.in_doubt().map(|call| call.tool.as_str()).collect();
    Ok((!in_doubt.is_empty()).then(|| {
        let tools = in_doubt.join(", ");
        format!("stopped during a call of {tools}, which may or may not have taken effect")
    }))
}

/// A run, and what its error says of calls whose outcome is not known. A journal that cannot be read keeps no run from being
/// stopped.
async fn with_doubts(
    store: &Store,
    workspace: WorkspaceId,
    id: RunId,
) -> Result<(Run, Option<String>)> {
    let loaded = match store.load_run(workspace, id).await {
        Err(error) if !error.is_retryable() => {
            return without_journal(store, workspace, id, &error).await;
        }
        loaded => loaded?.ok_or(Error::NotFound("execution"))?,
    };
    let LoadedRun { run, steps, .. } = loaded;
    match in_doubt(&steps) {
        Ok(note) => Ok((run, note)),
        Err(error) => without_journal(store, workspace, id, &error).await,
    }
}

async fn without_journal(
    store: &Store,
    workspace: WorkspaceId,
    id: RunId,
    error: &Error,
) -> Result<(Run, Option<String>)> {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(run.id = %id, %error, source, "a run is stopped whose journal cannot be read");
    let note = "stopped; its journal cannot be read, so a call that was under way may or may not have taken effect";
    let run = store.run_head(workspace, id).await?;
    Ok((
        run.ok_or(Error::NotFound("execution"))?,
        Some(note.to_owned()),
    ))
}
