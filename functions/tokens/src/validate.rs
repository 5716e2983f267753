//! `true` if a Prodgy credential is good. The documented path says `api-token`, its neighbours `api-tokens`: both work.

use auth::Principal;
use chrono::{DateTime, Utc};
use domain::access::Role;
use domain::ids::{OrganizationId, TokenId, WorkspaceId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::Authenticated;
use web::{ApiResponse, Authorized, Routes};

use crate::State;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Validity)]
struct ValidityResponse {
    valid: bool,
    /// `null` for a session.
    token_id: Option<TokenId>,
    product_id: WorkspaceId,
    organization_id: OrganizationId,
    role: Role,
    expires_at: Option<DateTime<Utc>>,
}

/// Tells what the credential opens; 401 for one that opens nothing.
#[utoipa::path(get, path = "/api/api-token/auth/validate", tag = "API Tokens", responses((status = 200, body = ValidityResponse)))]
async fn validate_token(caller: Authorized<Authenticated>) -> ApiResponse<ValidityResponse> {
    validity(&caller)
}

/// The same under the plural path.
#[utoipa::path(get, path = "/api/api-tokens/auth/validate", tag = "API Tokens", responses((status = 200, body = ValidityResponse)))]
async fn validate_token_plural(caller: Authorized<Authenticated>) -> ApiResponse<ValidityResponse> {
    validity(&caller)
}

fn validity(caller: &Principal) -> ApiResponse<ValidityResponse> {
    ApiResponse::ok(ValidityResponse {
        valid: true,
        token_id: caller.token_id(),
        product_id: caller.workspace_id,
        organization_id: caller.organization_id,
        role: caller.role,
        expires_at: caller.expires_at,
    })
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(validate_token))
        .authenticated(routes!(validate_token_plural))
}
