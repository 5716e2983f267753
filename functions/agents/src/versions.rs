//! The states that an agent's definition has had.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::agent::{AgentType, AgentVersion, Prompt};
use domain::audit::Actor;
use domain::ids::{AgentId, AgentVersionId};
use domain::page::{MAX_OFFSET, PageRequest};
use domain::text::Name;
use futures::future::try_join;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::Authenticated;
use web::{Authorized, Id, PageParams, PageResponse, ProdgyPaging, Result, Routes, Store, found};

use crate::State;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentBaseVersion)]
struct AgentBaseVersionResponse {
    /// The `version_id` that an update takes to come back to this state.
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

impl From<AgentVersion> for AgentBaseVersionResponse {
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
    responses((status = 200, body = Vec<AgentBaseVersionResponse>)),
)]
async fn list_agent_base_versions(
    Extract(store): Extract<Store>,
    caller: Authorized<Authenticated>,
    Id(id): Id<AgentId>,
    params: PageParams,
) -> Result<PageResponse<AgentBaseVersionResponse>> {
    let workspace = caller.workspace_id;
    let uncounted = PageRequest {
        wants_total: false,
        ..params.request.clone()
    };
    let versions = store.agent_versions(workspace, id, &uncounted);
    let agent = found(store.agent(workspace, id));
    let (agent, mut versions) = try_join(agent, versions).await?;
    // They are numbered, and none is ever deleted.
    versions.total = params
        .request
        .wants_total
        .then(|| agent.version.min(MAX_OFFSET));
    Ok(PageResponse::new(
        versions.map(AgentBaseVersionResponse::from),
        params,
    ))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().authenticated(routes!(list_agent_base_versions))
}
