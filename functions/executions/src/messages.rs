//! Display messages produced by runs.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::ids::{AgentId, MessageId, RunId};
use domain::run::{DisplayMessage, MessageKind, MessageLevel};
use futures::future::try_join;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::AgentsRead;
use web::{Authorized, CursorPaging, Id, PageParams, PageResponse, Result, Routes, Store, found};

use crate::State;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
struct MessageResponse {
    id: MessageId,
    agent_id: AgentId,
    run_id: RunId,
    kind: MessageKind,
    #[schema(example = "Weather for New York")]
    title: String,
    #[schema(example = "Clear sky, 21 °C.")]
    content: String,
    level: MessageLevel,
    created_at: DateTime<Utc>,
}

impl From<DisplayMessage> for MessageResponse {
    fn from(message: DisplayMessage) -> Self {
        Self {
            id: message.id,
            agent_id: message.agent_id,
            run_id: message.run_id,
            kind: message.kind,
            title: message.title,
            content: message.content,
            level: message.level,
            created_at: message.created_at,
        }
    }
}

/// Lists what the runs of an agent have shown, newest first.
#[utoipa::path(
    get, path = "/api/v1/agents/{id}/messages", tag = "Messages",
    params(("id" = AgentId, Path), CursorPaging),
    security(("AgentPlatformKey" = ["agents:read"])),
    responses((status = 200, body = Vec<MessageResponse>)),
)]
async fn list_messages_of_agent(
    Extract(store): Extract<Store>,
    caller: Authorized<AgentsRead>,
    Id(id): Id<AgentId>,
    params: PageParams,
) -> Result<PageResponse<MessageResponse>> {
    let workspace = caller.workspace_id;
    let messages = store.messages_of_agent(workspace, id, &params.request);
    let agent = found(store.agent(workspace, id));
    let (_, messages) = try_join(agent, messages).await?;
    Ok(PageResponse::new(
        messages.map(MessageResponse::from),
        params,
    ))
}

/// Lists what a run has shown, newest first.
#[utoipa::path(
    get, path = "/api/v1/runs/{id}/messages", tag = "Messages",
    params(("id" = RunId, Path), CursorPaging),
    security(("AgentPlatformKey" = ["agents:read"])),
    responses((status = 200, body = Vec<MessageResponse>)),
)]
async fn list_messages_of_run(
    Extract(store): Extract<Store>,
    caller: Authorized<AgentsRead>,
    Id(id): Id<RunId>,
    params: PageParams,
) -> Result<PageResponse<MessageResponse>> {
    let workspace = caller.workspace_id;
    let messages = store.messages_of_run(workspace, id, &params.request);
    let run = found(store.run_head(workspace, id));
    let (_, messages) = try_join(run, messages).await?;
    Ok(PageResponse::new(
        messages.map(MessageResponse::from),
        params,
    ))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(list_messages_of_agent))
        .authenticated(routes!(list_messages_of_run))
}
