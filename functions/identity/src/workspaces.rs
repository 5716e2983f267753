//! The workspaces of an organization. Prodgy calls them products.

use axum::extract::State as Extract;
use domain::Error;
use domain::access::Role;
use domain::audit::AuditEntry;
use domain::identity::Workspace;
use domain::ids::WorkspaceId;
use domain::text::{Description, Name};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::{AdminSession, Session};
use web::{
    ApiResponse, Authorized, Clock, Entity, Id, Json, NewId, PageParams, PageResponse,
    ProdgyPaging, Result, Routes, Store, found,
};

use crate::State;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Support", "description": "What answers our customers"}))]
struct CreateWorkspace {
    name: Name,
    #[serde(default)]
    description: Description,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Customer support"}))]
struct UpdateWorkspace {
    name: Option<Name>,
    description: Option<Description>,
}

/// The workspaces that the caller may use, newest first.
#[utoipa::path(get, path = "/api/workspaces", tag = "Workspaces", params(ProdgyPaging), security(("Session" = [])), responses((status = 200, body = Vec<Workspace>)))]
async fn list_workspaces(
    Extract(store): Extract<Store>,
    caller: Authorized<Session>,
    params: PageParams,
) -> Result<PageResponse<Workspace>> {
    let organization = caller.organization_id;
    let page = match &caller.workspaces {
        None => store.workspaces(organization, &params.request).await?,
        Some(granted) => {
            let granted = store.workspaces_of(organization, granted).await?;
            params.request.paginate(granted, |workspace| workspace.id)?
        }
    };
    Ok(PageResponse::new(page, params))
}

/// Creates a workspace: an organization has at most 100. This is for administrators of all workspaces.
#[utoipa::path(post, path = "/api/workspaces", tag = "Workspaces", request_body = CreateWorkspace, security(("Session" = ["ADMIN"])), responses((status = 201, body = Workspace)))]
async fn create_workspace(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<AdminSession>,
    fresh: NewId,
    Json(body): Json<CreateWorkspace>,
) -> Result<ApiResponse<Workspace>> {
    caller.require_role_everywhere(Role::Admin)?;
    let now = clock.now();
    let workspace = Workspace {
        id: fresh.id(now),
        organization_id: caller.organization_id,
        name: body.name,
        description: body.description,
        created_at: now,
        revision: 0,
    };
    let audit = AuditEntry::new(
        &caller.audit_context,
        "workspace.created",
        "workspace",
        workspace.id,
        now,
    )
    .of_organization();
    match store.create_workspace(&workspace, &audit).await {
        // The same request, sent again after it got no answer.
        Err(Error::Conflict(_)) => {
            let existing = found(store.workspace(caller.organization_id, workspace.id));
            Ok(ApiResponse::created(existing.await?))
        }
        outcome => {
            outcome?;
            Ok(ApiResponse::created(workspace))
        }
    }
}

/// One workspace.
#[utoipa::path(get, path = "/api/workspaces/{id}", tag = "Workspaces", params(("id" = WorkspaceId, Path)), security(("Session" = [])), responses((status = 200, body = Workspace)))]
async fn get_workspace(
    Extract(store): Extract<Store>,
    caller: Authorized<Session>,
    Id(id): Id<WorkspaceId>,
) -> Result<ApiResponse<Workspace>> {
    let workspace = store.workspace(caller.organization_id, id);
    let visible = workspace.await?.filter(|_| caller.may_use(id));
    Ok(ApiResponse::ok(Workspace::or_not_found(visible)?))
}

/// Changes a workspace's name or description. This is for administrators.
#[utoipa::path(patch, path = "/api/workspaces/{id}", tag = "Workspaces", params(("id" = WorkspaceId, Path)), request_body = UpdateWorkspace, security(("Session" = ["ADMIN"])), responses((status = 200, body = Workspace)))]
async fn update_workspace(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<AdminSession>,
    Id(id): Id<WorkspaceId>,
    Json(body): Json<UpdateWorkspace>,
) -> Result<ApiResponse<Workspace>> {
    let workspace = store.workspace(caller.organization_id, id).await?;
    let workspace = Workspace::or_not_found(workspace.filter(|_| caller.may_use(id)))?;
    let workspace = Workspace {
        name: body.name.unwrap_or(workspace.name),
        description: body.description.unwrap_or(workspace.description),
        ..workspace
    };
    let audit = AuditEntry::new(
        &caller.audit_context,
        "workspace.updated",
        "workspace",
        id,
        clock.now(),
    )
    .of_organization();
    store.update_workspace(&workspace, &audit).await?;
    Ok(ApiResponse::ok(workspace))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(list_workspaces, create_workspace))
        .authenticated(routes!(get_workspace, update_workspace))
}
