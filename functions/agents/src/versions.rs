//! The states that an agent's definition has had.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::agent::{AgentType, AgentVersion, Prompt};
use domain::audit::Actor;
use domain::ids::{AgentId, AgentVersionId};
use domain::page::{MAX_OFFSET, PageRequest};
use domain::text::Name;
use futures::future::try_join;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::access::Authenticated;
use web::{Authorized, Id, PageParams, PageResponse, ProdgyPaging, Result};

use crate::State;

#[derive(Debug, Serialize, ToSchema)]
struct AgentBaseVersion {
    /// What an update's `version_id` takes to come back to this state.
    id: AgentVersionId,
    /// From 1.
    version: u32,
    name: Name,
    #[serde(rename = "type")]
    agent_type: AgentType,
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    prompts: Vec<Prompt>,
    created_at: DateTime<Utc>,
    created_by: Actor,
}

impl From<AgentVersion> for AgentBaseVersion {
    fn from(version: AgentVersion) -> Self {
        Self {
            id: version.id,
            version: version.number,
            name: version.name,
            agent_type: version.agent_type,
            parameters: version.parameters,
            prompts: version.prompts,
            created_at: version.created_at,
            created_by: version.created_by,
        }
    }
}

/// Lists the versions of an agent, newest first.
#[utoipa::path(
    get, path = "/api/agent-base/{id}/versions", tag = "Agents",
    params(("id" = AgentId, Path), ProdgyPaging),
    responses((status = 200, body = Vec<AgentBaseVersion>)),
)]
async fn list_agent_base_versions(
    Extract(state): Extract<State>,
    caller: Authorized<Authenticated>,
    Id(id): Id<AgentId>,
    params: PageParams,
) -> Result<PageResponse<AgentBaseVersion>> {
    let store = &state.host.store;
    let workspace = caller.workspace_id;
    let uncounted = PageRequest {
        wants_total: false,
        ..params.request.clone()
    };
    let versions = store.agent_versions(workspace, id, &uncounted);
    let (agent, mut versions) = try_join(store.agent(workspace, id), versions).await?;
    let agent = agent.ok_or(Error::NotFound("agent"))?;
    // They are numbered, and none is ever deleted.
    versions.total = params
        .request
        .wants_total
        .then(|| agent.version.min(MAX_OFFSET));
    Ok(PageResponse::new(
        versions.map(AgentBaseVersion::from),
        params,
    ))
}

pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_agent_base_versions))
}
