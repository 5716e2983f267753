//! The caller's own account, in the shape of Prowpt's `/api/auth/me`.

use auth::Identity;
use axum::extract::State as Extract;
use domain::identity::Email;
use domain::ids::{OrganizationId, TokenId, UserId, WorkspaceId};
use domain::text::Name;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::Authenticated;
use web::{ApiResponse, AppContext, Authorized, Result, Routes, Store, found};

use crate::State;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
struct MeResponse {
    id: UserId,
    email: Email,
    name: Name,
    role: domain::access::Role,
    organization_id: OrganizationId,
    workspace_id: WorkspaceId,
    /// `self_hosted`: the operator of the platform sets its limits.
    tier: &'static str,
    limits: AccountLimits,
    /// The key that asks; `null` for a session.
    key: Option<Key>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AccountLimits {
    /// Of a key that has no limit of its own.
    requests_per_minute: u32,
}

#[derive(Debug, Serialize, ToSchema)]
struct Key {
    id: TokenId,
    scopes: Vec<String>,
    origin: &'static str,
}

/// Tells who the caller is and what the caller may do.
#[utoipa::path(get, path = "/api/auth/me", tag = "Account", responses((status = 200, body = MeResponse)))]
async fn get_me(
    Extract(context): Extract<AppContext>,
    Extract(store): Extract<Store>,
    caller: Authorized<Authenticated>,
) -> Result<ApiResponse<MeResponse>> {
    let user = found(store.user(caller.user()?)).await?;
    let key = match caller.identity {
        Identity::Token(id, _) => Some(Key {
            id,
            scopes: caller.scopes.clone(),
            origin: "user",
        }),
        _ => None,
    };
    Ok(ApiResponse::ok(MeResponse {
        id: user.id,
        email: user.email,
        name: user.name,
        role: caller.role,
        organization_id: caller.organization_id,
        workspace_id: caller.workspace_id,
        tier: "self_hosted",
        limits: AccountLimits {
            requests_per_minute: context.services.config.limits.prowpt,
        },
        key,
    }))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().authenticated(routes!(get_me))
}
