//! Agents as AgentPlatform has them.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::agent::{self, AgentType, Prompt};
use domain::ids::AgentId;
use domain::text::{Description, Name};
use futures::future::try_join;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::AgentWithStatus;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::{AgentsRead, AgentsWrite};
use web::{
    ApiResponse, AppContext, Authorized, Clock, CursorPaging, Id, Json, NewId, NoContent,
    PageParams, PageResponse, Result, Routes, Store, double_option, found,
};

use crate::State;
use crate::create::{NewAgent, create, installable};
use crate::delete::delete;
use crate::status::AgentStatus;
use crate::update::{AgentChange, Decision, ParameterChange, update};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agent)]
struct AgentResponse {
    id: AgentId,
    name: Name,
    description: Description,
    #[serde(rename = "type")]
    agent_type: AgentType,
    status: AgentStatus,
    /// Five-field cron.
    #[schema(example = "0 7 * * *")]
    schedule: Option<String>,
    #[schema(example = "America/New_York")]
    timezone: String,
    #[schema(value_type = Object, example = json!({"location": "New York"}))]
    config: Map<String, Value>,
    prompts: Vec<Prompt>,
    /// Five in a row disable the agent.
    consecutive_failures: u32,
    next_run_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl AgentResponse {
    fn new(agent: agent::Agent, is_at_work: bool) -> Self {
        Self {
            id: agent.id,
            status: AgentStatus::of(&agent, is_at_work),
            name: agent.name,
            description: agent.description,
            agent_type: agent.agent_type,
            schedule: agent.schedule,
            timezone: agent.timezone,
            config: agent.parameters,
            prompts: agent.prompts,
            consecutive_failures: agent.consecutive_failures,
            next_run_at: agent.next_run_at,
            created_at: agent.created_at,
            updated_at: agent.updated_at,
        }
    }
}

impl From<AgentWithStatus> for AgentResponse {
    fn from(found: AgentWithStatus) -> Self {
        Self::new(found.agent, found.is_at_work)
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "NYC Weather", "type": "weather_check", "config": {"location": "New York"}}))]
struct CreateAgent {
    name: Name,
    #[serde(rename = "type")]
    #[schema(value_type = AgentType)]
    agent_type: String,
    #[serde(default)]
    description: Description,
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"location": "New York"}))]
    config: Map<String, Value>,
    #[serde(default)]
    prompts: Vec<Prompt>,
    /// Five-field cron.
    #[schema(example = "0 7 * * *")]
    schedule: Option<String>,
    /// IANA name; UTC when left out.
    timezone: Option<String>,
}

/// Changes of an agent. Members that are left out stay as they are; the type cannot be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"schedule": "0 7 * * *", "timezone": "America/New_York"}))]
struct UpdateAgent {
    name: Option<Name>,
    description: Option<Description>,
    /// The members to change; `null` brings a default back.
    #[schema(value_type = Option<Object>)]
    config: Option<Map<String, Value>>,
    prompts: Option<Vec<Prompt>>,
    /// `null` takes the schedule away.
    #[serde(default, deserialize_with = "double_option")]
    #[schema(value_type = Option<String>)]
    schedule: Option<Option<String>>,
    timezone: Option<String>,
}

impl From<UpdateAgent> for AgentChange {
    fn from(body: UpdateAgent) -> Self {
        Self {
            name: body.name,
            description: body.description,
            parameters: body.config.map(ParameterChange::Merge),
            prompts: body.prompts,
            schedule: body.schedule,
            timezone: body.timezone,
            version_id: None,
            decision: None,
        }
    }
}

/// Lists the agents, newest first.
#[utoipa::path(
    get, path = "/api/v1/agents", tag = "Agents",
    params(CursorPaging),
    security(("AgentPlatformKey" = ["agents:read"])),
    responses((status = 200, body = Vec<AgentResponse>)),
)]
async fn list_agents(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<AgentsRead>,
    params: PageParams,
) -> Result<PageResponse<AgentResponse>> {
    let agents = store.agents_with_status(caller.workspace_id, &params.request, clock.now());
    let agents = agents.await?;
    let agents = agents.map(AgentResponse::from);
    Ok(PageResponse::new(agents, params))
}

/// Creates an agent. What its `config` takes depends on its type; `GET /api/agent-base/catalog` lists the types with their
/// parameters.
#[utoipa::path(
    post, path = "/api/v1/agents", tag = "Agents",
    request_body = CreateAgent,
    security(("AgentPlatformKey" = ["agents:write"])),
    responses((status = 201, body = AgentResponse)),
)]
async fn create_agent(
    Extract(context): Extract<AppContext>,
    caller: Authorized<AgentsWrite>,
    fresh: NewId,
    Json(body): Json<CreateAgent>,
) -> Result<ApiResponse<AgentResponse>> {
    let new = NewAgent {
        agent_type: installable("type", &body.agent_type)?,
        name: body.name,
        description: body.description,
        parameters: body.config,
        parameters_field: "config",
        prompts: body.prompts,
        schedule: body.schedule,
        timezone: body.timezone,
    };
    let agent = create(&context, &caller.audit_context, fresh, new).await?;
    Ok(ApiResponse::created(AgentResponse::new(agent, false)))
}

/// Shows an agent.
#[utoipa::path(
    get, path = "/api/v1/agents/{id}", tag = "Agents",
    params(("id" = AgentId, Path)),
    security(("AgentPlatformKey" = ["agents:read"])),
    responses((status = 200, body = AgentResponse)),
)]
async fn get_agent(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<AgentsRead>,
    Id(id): Id<AgentId>,
) -> Result<ApiResponse<AgentResponse>> {
    let agent = found(store.agent_with_status(caller.workspace_id, id, clock.now())).await?;
    Ok(ApiResponse::ok(agent.into()))
}

/// Changes an agent.
#[utoipa::path(
    patch, path = "/api/v1/agents/{id}", tag = "Agents",
    params(("id" = AgentId, Path)),
    request_body = UpdateAgent,
    security(("AgentPlatformKey" = ["agents:write"])),
    responses((status = 200, body = AgentResponse)),
)]
async fn update_agent(
    Extract(state): Extract<State>,
    caller: Authorized<AgentsWrite>,
    Id(id): Id<AgentId>,
    Json(body): Json<UpdateAgent>,
) -> Result<ApiResponse<AgentResponse>> {
    change(&state, &caller, id, body.into()).await
}

/// Deletes an agent. Its runs that have not ended are stopped; all stay readable by their ids.
#[utoipa::path(
    delete, path = "/api/v1/agents/{id}", tag = "Agents",
    params(("id" = AgentId, Path)),
    security(("AgentPlatformKey" = ["agents:write"])),
    responses((status = 204, description = "The agent is gone")),
)]
async fn delete_agent(
    Extract(context): Extract<AppContext>,
    caller: Authorized<AgentsWrite>,
    Id(id): Id<AgentId>,
) -> Result<NoContent> {
    delete(&context, &caller, id).await?;
    Ok(NoContent)
}

/// Pauses an agent: neither schedule nor signals start it. Runs under way go on.
#[utoipa::path(
    post, path = "/api/v1/agents/{id}/pause", tag = "Agents",
    params(("id" = AgentId, Path)),
    security(("AgentPlatformKey" = ["agents:write"])),
    responses((status = 200, body = AgentResponse)),
)]
async fn pause_agent(
    Extract(state): Extract<State>,
    caller: Authorized<AgentsWrite>,
    Id(id): Id<AgentId>,
) -> Result<ApiResponse<AgentResponse>> {
    change(&state, &caller, id, Decision::Pause.into()).await
}

/// Resumes an agent that was paused, or disabled after repeated failures, and forgives these.
#[utoipa::path(
    post, path = "/api/v1/agents/{id}/resume", tag = "Agents",
    params(("id" = AgentId, Path)),
    security(("AgentPlatformKey" = ["agents:write"])),
    responses((status = 200, body = AgentResponse)),
)]
async fn resume_agent(
    Extract(state): Extract<State>,
    caller: Authorized<AgentsWrite>,
    Id(id): Id<AgentId>,
) -> Result<ApiResponse<AgentResponse>> {
    change(&state, &caller, id, Decision::Resume.into()).await
}

async fn change(
    state: &State,
    caller: &Authorized<AgentsWrite>,
    id: AgentId,
    change: AgentChange,
) -> Result<ApiResponse<AgentResponse>> {
    let store = &state.context.store;
    let now = state.context.services.clock.now();
    let is_at_work = store.is_at_work(caller.workspace_id, id, now);
    let update = update(&state.context, caller, id, &change);
    let (agent, is_at_work) = try_join(update, is_at_work).await?;
    Ok(ApiResponse::ok(AgentResponse::new(agent, is_at_work)))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(list_agents, create_agent))
        .authenticated(routes!(get_agent, update_agent, delete_agent))
        .authenticated(routes!(pause_agent))
        .authenticated(routes!(resume_agent))
}
