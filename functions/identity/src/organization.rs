//! The caller's organization.

use axum::extract::State as Extract;
use domain::access::Role;
use domain::audit::AuditEntry;
use domain::identity::Organization;
use domain::text::Name;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::{AdminSession, Session};
use web::{ApiResponse, Authorized, Clock, Json, Result, Routes, Store, found};

use crate::State;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Analytical Engines"}))]
struct UpdateOrganization {
    name: Option<Name>,
}

/// The organization that the session belongs to.
#[utoipa::path(get, path = "/api/organization", tag = "Organization", security(("Session" = [])), responses((status = 200, body = Organization)))]
async fn get_organization(
    Extract(store): Extract<Store>,
    caller: Authorized<Session>,
) -> Result<ApiResponse<Organization>> {
    let organization = found(store.organization(caller.organization_id)).await?;
    Ok(ApiResponse::ok(organization))
}

/// Renames the organization. This is for administrators of all workspaces.
#[utoipa::path(patch, path = "/api/organization", tag = "Organization", request_body = UpdateOrganization, security(("Session" = ["ADMIN"])), responses((status = 200, body = Organization)))]
async fn update_organization(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<AdminSession>,
    Json(body): Json<UpdateOrganization>,
) -> Result<ApiResponse<Organization>> {
    caller.require_role_everywhere(Role::Admin)?;
    let organization = found(store.organization(caller.organization_id)).await?;
    let Some(name) = body.name else {
        return Ok(ApiResponse::ok(organization));
    };
    let organization = Organization {
        name,
        ..organization
    };
    let now = clock.now();
    let audit = AuditEntry::new(
        &caller.audit_context,
        "organization.updated",
        "organization",
        organization.id,
        now,
    )
    .of_organization();
    store.update_organization(&organization, &audit).await?;
    Ok(ApiResponse::ok(organization))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().authenticated(routes!(get_organization, update_organization))
}
