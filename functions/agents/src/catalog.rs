//! The agent types that can be installed.

use domain::agent::{AgentTemplate, AgentType};
use engine::agents::template;
use utoipa_axum::routes;
use web::access::Authenticated;
use web::{ApiResponse, Authorized, Result, Routes};

use crate::State;

/// Lists the agents that can be installed, and those that are still to come.
#[utoipa::path(
    get, path = "/api/agent-base/catalog", tag = "Agents",
    responses((status = 200, body = Vec<AgentTemplate>)),
)]
async fn list_agent_templates(
    _: Authorized<Authenticated>,
) -> Result<ApiResponse<Vec<AgentTemplate>>> {
    Ok(ApiResponse::ok(
        AgentType::ALL.iter().copied().map(template).collect(),
    ))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().authenticated(routes!(list_agent_templates))
}
