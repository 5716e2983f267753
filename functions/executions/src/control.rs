//! Executions under way: how they stand, and stopping, pausing and continuing them.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::ids::{AgentId, RunId};
use domain::run::{Run, TokenUsage};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::Authenticated;
use web::{ApiResponse, Authorized, Clock, Deadline, Id, Result, Routes, Store, found};

use crate::State;
use crate::executions::ExecutionStatus;
use crate::wait_until::wait_until;

/// The status of an execution.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExecutionState, example = json!({
    "execution_id": "0199f7a1-5b7c-7d10-9a3e-2f6c1d4b8e90",
    "agent_id": "0199f7a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b",
    "status": "running",
    "pause_requested": false,
    "steps": 3,
    "tokens": {"input": 210, "output": 40},
    "error": null,
    "created_at": "2026-11-22T10:00:00Z",
    "started_at": "2026-11-22T10:00:00.020Z",
    "finished_at": null,
}))]
struct ExecutionStateResponse {
    execution_id: RunId,
    agent_id: AgentId,
    status: ExecutionStatus,
    /// It pauses as soon as the call that it is in has come back.
    pause_requested: bool,
    /// The number of steps of its journal.
    steps: u32,
    tokens: TokenUsage,
    error: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Run> for ExecutionStateResponse {
    fn from(run: Run) -> Self {
        Self {
            execution_id: run.id,
            agent_id: run.agent_id,
            status: run.status.into(),
            pause_requested: run.pause_requested && !run.status.is_final(),
            steps: run.steps,
            tokens: run.tokens,
            error: run.error,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

/// Shows how an execution stands.
#[utoipa::path(
    get, path = "/api/workflow/{id}/status", tag = "Executions",
    params(("id" = RunId, Path)),
    responses((status = 200, body = ExecutionStateResponse)),
)]
async fn execution_status(
    Extract(store): Extract<Store>,
    caller: Authorized<Authenticated>,
    Id(id): Id<RunId>,
) -> Result<ApiResponse<ExecutionStateResponse>> {
    let run = found(store.run_head(caller.workspace_id, id)).await?;
    Ok(ApiResponse::ok(run.into()))
}

/// Ends an execution where it stands. A call that is under way may still take effect; `error` says so then.
#[utoipa::path(
    post, path = "/api/workflow/{id}/stop", tag = "Executions",
    params(("id" = RunId, Path)),
    responses((status = 200, body = ExecutionStateResponse)),
)]
async fn stop_execution(
    Extract(state): Extract<State>,
    caller: Authorized<Authenticated>,
    Id(id): Id<RunId>,
) -> Result<ApiResponse<ExecutionStateResponse>> {
    let stopped = state
        .control
        .stop(caller.workspace_id, id, &caller.audit_context);
    Ok(ApiResponse::ok(stopped.await?.into()))
}

/// Pauses an execution before its next step. Waits for at most 25 seconds until it has paused; it is still `running` after that
/// while it is in a call, and pauses when that comes back.
#[utoipa::path(
    post, path = "/api/workflow/{id}/pause", tag = "Executions",
    params(("id" = RunId, Path)),
    responses((status = 200, body = ExecutionStateResponse)),
)]
async fn pause_execution(
    Extract(state): Extract<State>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Authenticated>,
    Id(id): Id<RunId>,
    Deadline(deadline): Deadline,
) -> Result<ApiResponse<ExecutionStateResponse>> {
    let control = &state.control;
    let run = control
        .pause(caller.workspace_id, id, &caller.audit_context)
        .await?;
    let now = clock.now();
    // Also when the pause was taken back meanwhile.
    let is_settled = |run: &Run| !run.pause_requested;
    let run = wait_until(&store, run, deadline, now, is_settled).await?;
    Ok(ApiResponse::ok(run.into()))
}

/// Lets a paused execution go on from where it stands, or takes back a pause that was requested and has not begun.
#[utoipa::path(
    post, path = "/api/workflow/{id}/continue", tag = "Executions",
    params(("id" = RunId, Path)),
    responses((status = 200, body = ExecutionStateResponse)),
)]
async fn continue_execution(
    Extract(state): Extract<State>,
    caller: Authorized<Authenticated>,
    Id(id): Id<RunId>,
) -> Result<ApiResponse<ExecutionStateResponse>> {
    let resumed = state
        .control
        .resume(caller.workspace_id, id, &caller.audit_context);
    Ok(ApiResponse::ok(resumed.await?.into()))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(execution_status))
        .authenticated(routes!(stop_execution))
        .authenticated(routes!(pause_execution))
        .authenticated(routes!(continue_execution))
}
