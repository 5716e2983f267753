//! Runs as Prodgy has them: executions of an agent.

use axum::extract::State as Extract;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::ids::{AgentId, AgentVersionId, RunId};
use domain::run::{Run, RunStatus, RunTrigger};
use engine::NewRun;
use futures::future::try_join;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::RunFilter;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use web::access::Authenticated;
use web::{
    ApiResponse, Authorized, Clock, Deadline, Entity, Id, IdPair, MAX_INPUT_BODY, NewId,
    OptionalJson, PageParams, PageResponse, Params, ProdgyPaging, Result, RoutePolicy, Routes,
    Store, found,
};

use crate::State;
use crate::listing::statuses_shown_as;
use crate::wait_until::{wait_until, with_payloads};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Execution)]
struct ExecutionResponse {
    id: RunId,
    agent_id: AgentId,
    /// No execution names a trigger yet.
    #[schema(value_type = Option<Uuid>)]
    trigger_id: (),
    /// The version of the agent that the execution follows.
    workflow_version_id: AgentVersionId,
    trigger: RunTrigger,
    /// The execution that started one of trigger `agent`.
    parent_run_id: Option<RunId>,
    status: ExecutionStatus,
    /// `null` in lists where it is large.
    input: Option<Value>,
    /// The result once completed. `null` in lists where it is large.
    output: Option<Value>,
    error: Option<String>,
    credits: u32,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    duration_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExecutionStatus {
    Queued,
    Running,
    /// Also while an approval is waited for.
    Paused,
    Completed,
    Failed,
    Stopped,
}

impl From<RunStatus> for ExecutionStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Queued => Self::Queued,
            RunStatus::Running => Self::Running,
            RunStatus::Paused | RunStatus::WaitingApproval => Self::Paused,
            RunStatus::Completed => Self::Completed,
            RunStatus::Failed => Self::Failed,
            RunStatus::Stopped => Self::Stopped,
        }
    }
}

impl From<Run> for ExecutionResponse {
    fn from(run: Run) -> Self {
        let times = run.started_at.zip(run.finished_at);
        Self {
            id: run.id,
            agent_id: run.agent_id,
            trigger_id: (),
            workflow_version_id: run.agent_version_id,
            trigger: run.trigger,
            parent_run_id: run.lineage.map(|lineage| lineage.parent),
            status: run.status.into(),
            input: run.input,
            output: run.output,
            error: run.error,
            credits: 0,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            duration_ms: times.map(|(start, end)| (end - start).num_milliseconds()),
        }
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({"input": {"question": "Will it rain?"}, "wait": false}))]
struct StartExecution {
    #[serde(default)]
    #[schema(value_type = Object)]
    input: Map<String, Value>,
    /// `true` waits for the result, for at most 25 seconds.
    #[serde(default)]
    wait: bool,
}

/// An execution that is not over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedExecution)]
struct AcceptedExecutionResponse {
    execution_id: RunId,
    status: ExecutionStatus,
}

/// The filter of executions, for the list's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
struct ExecutionFilter {
    status: Option<ExecutionStatus>,
    /// Created at or after: RFC 3339, or a date.
    #[param(example = "2026-11-22T10:00:00Z")]
    from: Option<String>,
    /// Created before.
    #[param(example = "2026-11-23")]
    to: Option<String>,
}

/// Lists the executions of an agent, newest first.
#[utoipa::path(
    get, path = "/api/agent-base/{id}/executions", tag = "Executions",
    params(("id" = AgentId, Path), ExecutionFilter, ProdgyPaging),
    responses((status = 200, body = Vec<ExecutionResponse>)),
)]
async fn list_executions(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Authenticated>,
    Id(id): Id<AgentId>,
    params: Params,
    paging: PageParams,
) -> Result<PageResponse<ExecutionResponse>> {
    let status: Option<ExecutionStatus> = params.word("status")?;
    let filter = RunFilter {
        statuses: status.map_or_else(Vec::new, statuses_shown_as),
        from: params.time("from")?,
        to: params.time("to")?,
        ..RunFilter::default()
    };
    let now = clock.now();
    let workspace = caller.workspace_id;
    let runs = store.runs(workspace, id, &filter, &paging.request, now);
    let agent = found(store.agent(workspace, id));
    let (_, runs) = try_join(agent, runs).await?;
    Ok(PageResponse::new(runs.map(ExecutionResponse::from), paging))
}

/// Executes an agent. With `wait`, answers with the execution if it ends within 25 seconds, whether it completed or failed.
#[utoipa::path(
    post, path = "/api/agent-base/{id}/executions", tag = "Executions",
    params(("id" = AgentId, Path)),
    request_body = Option<StartExecution>,
    responses(
        (status = 200, body = ExecutionResponse),
        (status = 202, body = AcceptedExecutionResponse),
        (status = 403, description = "The plan allows no more runs this month"),
    ),
)]
async fn start_execution(
    Extract(state): Extract<State>,
    caller: Authorized<Authenticated>,
    Id(id): Id<AgentId>,
    Deadline(deadline): Deadline,
    fresh: NewId,
    OptionalJson(body): OptionalJson<StartExecution>,
) -> Result<Response> {
    let (store, clock) = (&state.context.store, &state.context.services.clock);
    let new = NewRun {
        id: fresh.id(clock.now()),
        trigger: RunTrigger::Manual,
        signal: None,
        input: Value::Object(body.input),
        input_field: "input",
        caller: &caller.audit_context,
    };
    let mut run = state.starter.start(caller.workspace_id, id, new).await?;
    if body.wait {
        let is_over = |run: &Run| run.status.is_final();
        run = wait_until(store, run, deadline, clock.now(), is_over).await?;
        if run.status.is_final() {
            let run = with_payloads(store, run).await?;
            return Ok(ApiResponse::ok(ExecutionResponse::from(run)).into_response());
        }
    }
    let accepted = AcceptedExecutionResponse {
        execution_id: run.id,
        status: run.status.into(),
    };
    Ok(ApiResponse::accepted(accepted).into_response())
}

/// Shows an execution, also when its agent is gone.
#[utoipa::path(
    get, path = "/api/agent-base/{id}/executions/{executionId}", tag = "Executions",
    params(("id" = AgentId, Path), ("executionId" = RunId, Path)),
    responses((status = 200, body = ExecutionResponse)),
)]
async fn get_execution(
    Extract(store): Extract<Store>,
    caller: Authorized<Authenticated>,
    IdPair(agent, id): IdPair<AgentId, RunId>,
) -> Result<ApiResponse<ExecutionResponse>> {
    let run = store.run(caller.workspace_id, id).await?;
    let run = Run::or_not_found(run.filter(|run| run.agent_id == agent))?;
    Ok(ApiResponse::ok(run.into()))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .with(
            RoutePolicy::authenticated().max_body(MAX_INPUT_BODY),
            routes!(list_executions, start_execution),
        )
        .authenticated(routes!(get_execution))
}
