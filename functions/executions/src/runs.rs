//! Runs as AgentPlatform has them.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::ids::{AgentId, RunId};
use domain::run::{self, RunTrigger, TokenUsage};
use futures::future::try_join;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::RunFilter;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use web::access::RunsRead;
use web::{
    ApiResponse, Authorized, Clock, CursorPaging, Found, Id, PageParams, PageResponse, Params,
    Result, Routes, Store, found,
};

use crate::State;
use crate::listing::statuses_shown_as;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
struct RunResponse {
    id: RunId,
    agent_id: AgentId,
    status: RunStatus,
    trigger: RunTrigger,
    /// The event that started a run of trigger `signal`.
    signal: Option<RunSignal>,
    /// The run that started a run of trigger `agent`.
    parent_run_id: Option<RunId>,
    /// `null` in lists where it is large.
    input: Option<Value>,
    /// The result once completed. `null` in lists where it is large.
    output: Option<Value>,
    error: Option<String>,
    tokens: TokenUsage,
    /// The cost of its models at list prices, in millionths of a US dollar; those whose price is not known count as 0.
    cost_micros: u64,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RunSignal {
    #[serde(rename = "type")]
    kind: String,
    /// The run's input.
    payload: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RunStatus {
    Queued,
    /// Also while paused.
    Running,
    WaitingApproval,
    Completed,
    Failed,
    Cancelled,
}

impl From<run::RunStatus> for RunStatus {
    fn from(status: run::RunStatus) -> Self {
        match status {
            run::RunStatus::Queued => Self::Queued,
            run::RunStatus::Running | run::RunStatus::Paused => Self::Running,
            run::RunStatus::WaitingApproval => Self::WaitingApproval,
            run::RunStatus::Completed => Self::Completed,
            run::RunStatus::Failed => Self::Failed,
            run::RunStatus::Stopped => Self::Cancelled,
        }
    }
}

impl From<run::Run> for RunResponse {
    fn from(run: run::Run) -> Self {
        let input = run.input;
        Self {
            id: run.id,
            agent_id: run.agent_id,
            status: run.status.into(),
            trigger: run.trigger,
            parent_run_id: run.lineage.map(|lineage| lineage.parent),
            signal: run.signal.map(|signal| RunSignal {
                kind: signal.kind,
                payload: input.clone(),
            }),
            input,
            output: run.output,
            error: run.error,
            tokens: run.tokens,
            cost_micros: run.cost_micros,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

/// The filter of runs, for the list's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
struct RunListFilter {
    status: Option<RunStatus>,
}

/// The filter of a workspace's runs, for the list's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
struct WorkspaceRunFilter {
    status: Option<RunStatus>,
    /// Only this agent's.
    agent_id: Option<AgentId>,
    trigger: Option<RunTrigger>,
    /// Created at or after: RFC 3339, or a date.
    #[param(example = "2026-11-22T10:00:00Z")]
    from: Option<String>,
    /// Created before.
    #[param(example = "2026-11-23")]
    to: Option<String>,
}

/// Lists the runs of all agents, newest first, those of deleted agents included.
///
/// A page may be short, or empty, and still have a `next_cursor`: one request looks at 250 runs.
#[utoipa::path(
    get, path = "/api/v1/runs", tag = "Runs",
    params(WorkspaceRunFilter, CursorPaging),
    security(("AgentPlatformKey" = ["runs:read"])),
    responses((status = 200, body = Vec<RunResponse>)),
)]
async fn list_workspace_runs(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<RunsRead>,
    params: Params,
    paging: PageParams,
) -> Result<PageResponse<RunResponse>> {
    let status: Option<RunStatus> = params.word("status")?;
    let agent: Option<AgentId> = params.parsed("agent_id")?;
    let filter = RunFilter {
        statuses: status.map_or_else(Vec::new, statuses_shown_as),
        trigger: params.word("trigger")?,
        from: params.time("from")?,
        to: params.time("to")?,
    };
    let workspace = caller.workspace_id;
    let runs = match agent {
        Some(agent) => {
            let now = clock.now();
            let runs = store.runs(workspace, agent, &filter, &paging.request, now);
            runs.await?
        }
        None => {
            let runs = store.runs_of_workspace(workspace, &filter, &paging.request);
            runs.await?
        }
    };
    Ok(PageResponse::new(runs.map(RunResponse::from), paging))
}

/// Lists the runs of an agent, newest first.
#[utoipa::path(
    get, path = "/api/v1/agents/{id}/runs", tag = "Runs",
    params(("id" = AgentId, Path), RunListFilter, CursorPaging),
    security(("AgentPlatformKey" = ["runs:read"])),
    responses((status = 200, body = Vec<RunResponse>)),
)]
async fn list_runs(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<RunsRead>,
    Id(id): Id<AgentId>,
    params: Params,
    paging: PageParams,
) -> Result<PageResponse<RunResponse>> {
    let status: Option<RunStatus> = params.word("status")?;
    let filter = RunFilter {
        statuses: status.map_or_else(Vec::new, statuses_shown_as),
        ..RunFilter::default()
    };
    let now = clock.now();
    let workspace = caller.workspace_id;
    let runs = store.runs(workspace, id, &filter, &paging.request, now);
    let agent = found(store.agent(workspace, id));
    let (_, runs) = try_join(agent, runs).await?;
    Ok(PageResponse::new(runs.map(RunResponse::from), paging))
}

/// Shows a run, also when its agent is gone.
#[utoipa::path(
    get, path = "/api/v1/runs/{id}", tag = "Runs",
    params(("id" = RunId, Path)),
    security(("AgentPlatformKey" = ["runs:read"])),
    responses((status = 200, body = RunResponse)),
)]
async fn get_run(
    _: Authorized<RunsRead>,
    Found(run): Found<run::Run>,
) -> Result<ApiResponse<RunResponse>> {
    Ok(ApiResponse::ok(run.into()))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(list_workspace_runs))
        .authenticated(routes!(list_runs))
        .authenticated(routes!(get_run))
}
