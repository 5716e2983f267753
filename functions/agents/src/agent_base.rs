//! Agents as Prodgy has them: installed on a product, from the catalog.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::agent::{Agent, AgentState, AgentType, Prompt};
use domain::audit::Caller;
use domain::ids::{AgentId, AgentVersionId, OrganizationId, WorkspaceId};
use domain::text::{Description, Name};
use engine::agents::template;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::Authenticated;
use web::{
    ApiResponse, AppContext, Authorized, Found, Id, Json, NewId, NoContent, PageParams,
    PageResponse, ProdgyPaging, Result, Routes, Store, double_option,
};

use crate::State;
use crate::create::{NewAgent, create, installable};
use crate::delete::delete;
use crate::update::{AgentChange, Decision, ParameterChange, update};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentBase)]
struct AgentBaseResponse {
    id: AgentId,
    product_id: WorkspaceId,
    organization_id: OrganizationId,
    name: Name,
    description: Description,
    status: AgentBaseStatus,
    #[serde(rename = "type")]
    agent_type: AgentType,
    /// The version that new executions follow.
    version_id: AgentVersionId,
    version: u32,
    #[schema(value_type = Object, example = json!({"location": "New York"}))]
    parameters: Map<String, Value>,
    prompts: Vec<Prompt>,
    /// No agent type uses integrations yet.
    #[schema(value_type = Vec<Uuid>)]
    integrations: [AgentId; 0],
    /// Five-field cron.
    #[schema(example = "0 7 * * *")]
    schedule: Option<String>,
    #[schema(example = "America/New_York")]
    timezone: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// `inactive` is also an agent that failed too often in a row.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AgentBaseStatus {
    Active,
    Inactive,
}

impl From<Agent> for AgentBaseResponse {
    fn from(agent: Agent) -> Self {
        Self {
            id: agent.id,
            product_id: agent.workspace_id,
            organization_id: agent.organization_id,
            name: agent.name,
            description: agent.description,
            status: match agent.state {
                AgentState::Active => AgentBaseStatus::Active,
                AgentState::Paused | AgentState::Disabled => AgentBaseStatus::Inactive,
            },
            agent_type: agent.agent_type,
            version_id: agent.version_id,
            version: agent.version,
            parameters: agent.parameters,
            prompts: agent.prompts,
            integrations: [],
            schedule: agent.schedule,
            timezone: agent.timezone,
            created_at: agent.created_at,
            updated_at: agent.updated_at,
        }
    }
}

/// The agent type to install, by `agent_template_id`, `slug` or `type`; the first of these that is given counts.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"slug": "weather_check", "name": "NYC Weather", "parameters": {"location": "New York"}}))]
struct InstallAgentBase {
    /// The token's product when left out.
    product_id: Option<WorkspaceId>,
    #[schema(value_type = Option<Uuid>)]
    agent_template_id: Option<String>,
    slug: Option<String>,
    #[serde(rename = "type")]
    agent_type: Option<String>,
    /// The template's when left out.
    name: Option<Name>,
    #[serde(default)]
    description: Description,
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"location": "New York"}))]
    parameters: Map<String, Value>,
    #[serde(default)]
    prompts: Vec<Prompt>,
    /// Five-field cron.
    #[schema(example = "0 7 * * *")]
    schedule: Option<String>,
    /// IANA name; UTC when left out.
    timezone: Option<String>,
}

impl InstallAgentBase {
    fn agent_type(&self) -> Result<AgentType, Error> {
        let named = [
            ("agent_template_id", &self.agent_template_id),
            ("slug", &self.slug),
            ("type", &self.agent_type),
        ];
        let first = named
            .into_iter()
            .find_map(|(field, value)| Some((field, value.as_deref()?)));
        let (field, reference) = first.ok_or_else(|| {
            Error::invalid(
                "agent_template_id",
                "is required, unless there is a slug or type",
            )
        })?;
        installable(field, reference)
    }
}

/// Changes of an agent. Members that are left out stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Boston Weather", "parameters": {"location": "Boston"}}))]
struct UpdateAgentBase {
    name: Option<Name>,
    description: Option<Description>,
    /// Replaces all parameters.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Map<String, Value>>,
    prompts: Option<Vec<Prompt>>,
    /// `null` takes the schedule away.
    #[serde(default, deserialize_with = "double_option")]
    #[schema(value_type = Option<String>)]
    schedule: Option<Option<String>>,
    timezone: Option<String>,
    /// A version of this agent to go on with; it brings its name, parameters and prompts.
    version_id: Option<AgentVersionId>,
    /// `inactive` pauses the agent, `active` resumes it and forgives its failures.
    status: Option<AgentBaseStatus>,
}

impl From<UpdateAgentBase> for AgentChange {
    fn from(body: UpdateAgentBase) -> Self {
        Self {
            name: body.name,
            description: body.description,
            parameters: body.parameters.map(ParameterChange::Replace),
            prompts: body.prompts,
            schedule: body.schedule,
            timezone: body.timezone,
            version_id: body.version_id,
            decision: body.status.map(|status| match status {
                AgentBaseStatus::Active => Decision::Resume,
                AgentBaseStatus::Inactive => Decision::Pause,
            }),
        }
    }
}

/// Lists the agents of the token's product, newest first.
#[utoipa::path(
    get, path = "/api/agent-base", tag = "Agents",
    params(ProdgyPaging),
    responses((status = 200, body = Vec<AgentBaseResponse>)),
)]
async fn list_agent_bases(
    Extract(store): Extract<Store>,
    caller: Authorized<Authenticated>,
    params: PageParams,
) -> Result<PageResponse<AgentBaseResponse>> {
    let agents = store.agents(caller.workspace_id, &params.request).await?;
    Ok(PageResponse::new(
        agents.map(AgentBaseResponse::from),
        params,
    ))
}

/// Lists the agents of a product, newest first.
#[utoipa::path(
    get, path = "/api/agent-base/product/{id}", tag = "Agents",
    params(("id" = WorkspaceId, Path), ProdgyPaging),
    responses((status = 200, body = Vec<AgentBaseResponse>)),
)]
async fn list_agent_bases_of_product(
    Extract(context): Extract<AppContext>,
    caller: Authorized<Authenticated>,
    Id(product): Id<WorkspaceId>,
    params: PageParams,
) -> Result<PageResponse<AgentBaseResponse>> {
    let workspace = context
        .authenticator
        .workspace_for(&caller, Some(product))
        .await?;
    let agents = context.store.agents(workspace, &params.request).await?;
    Ok(PageResponse::new(
        agents.map(AgentBaseResponse::from),
        params,
    ))
}

/// Creates an agent. The same as installing one.
#[utoipa::path(
    post, path = "/api/agent-base", tag = "Agents",
    request_body = InstallAgentBase,
    responses((status = 201, body = AgentBaseResponse), (status = 403, description = "The plan allows no more agents")),
)]
async fn create_agent_base(
    context: Extract<AppContext>,
    caller: Authorized<Authenticated>,
    fresh: NewId,
    body: Json<InstallAgentBase>,
) -> Result<ApiResponse<AgentBaseResponse>> {
    install_agent_base(context, caller, fresh, body).await
}

/// Installs an agent from the catalog on a product.
#[utoipa::path(
    post, path = "/api/agent-base/install", tag = "Agents",
    request_body = InstallAgentBase,
    responses((status = 201, body = AgentBaseResponse), (status = 403, description = "The plan allows no more agents")),
)]
async fn install_agent_base(
    Extract(context): Extract<AppContext>,
    caller: Authorized<Authenticated>,
    fresh: NewId,
    Json(body): Json<InstallAgentBase>,
) -> Result<ApiResponse<AgentBaseResponse>> {
    let agent_type = body.agent_type()?;
    let authenticator = &context.authenticator;
    let workspace_id = authenticator
        .workspace_for(&caller, body.product_id)
        .await?;
    let caller = Caller {
        workspace_id,
        ..caller.audit_context.clone()
    };
    let new = NewAgent {
        agent_type,
        name: match body.name {
            Some(name) => name,
            None => Name::for_field("name", template(agent_type).name)?,
        },
        description: body.description,
        parameters: body.parameters,
        parameters_field: "parameters",
        prompts: body.prompts,
        schedule: body.schedule,
        timezone: body.timezone,
    };
    let agent = create(&context, &caller, fresh, new).await?;
    Ok(ApiResponse::created(agent.into()))
}

/// Shows an agent.
#[utoipa::path(
    get, path = "/api/agent-base/{id}", tag = "Agents",
    params(("id" = AgentId, Path)),
    responses((status = 200, body = AgentBaseResponse)),
)]
async fn get_agent_base(
    _: Authorized<Authenticated>,
    Found(agent): Found<Agent>,
) -> Result<ApiResponse<AgentBaseResponse>> {
    Ok(ApiResponse::ok(agent.into()))
}

/// Changes an agent. Another name, other parameters or prompts make a new version of it.
#[utoipa::path(
    put, path = "/api/agent-base/{id}", tag = "Agents",
    params(("id" = AgentId, Path)),
    request_body = UpdateAgentBase,
    responses((status = 200, body = AgentBaseResponse)),
)]
async fn update_agent_base(
    Extract(context): Extract<AppContext>,
    caller: Authorized<Authenticated>,
    Id(id): Id<AgentId>,
    Json(body): Json<UpdateAgentBase>,
) -> Result<ApiResponse<AgentBaseResponse>> {
    let agent = update(&context, &caller, id, &body.into()).await?;
    Ok(ApiResponse::ok(agent.into()))
}

/// Uninstalls an agent. Its executions that have not ended are stopped; all stay readable by their ids.
#[utoipa::path(
    delete, path = "/api/agent-base/{id}", tag = "Agents",
    params(("id" = AgentId, Path)),
    responses((status = 200, description = "The agent is gone")),
)]
async fn delete_agent_base(
    Extract(context): Extract<AppContext>,
    caller: Authorized<Authenticated>,
    Id(id): Id<AgentId>,
) -> Result<NoContent> {
    delete(&context, &caller, id).await?;
    Ok(NoContent)
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(list_agent_bases, create_agent_base))
        .authenticated(routes!(install_agent_base))
        .authenticated(routes!(list_agent_bases_of_product))
        .authenticated(routes!(
            get_agent_base,
            update_agent_base,
            delete_agent_base
        ))
}
