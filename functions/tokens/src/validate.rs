//! Whether a Prodgy credential is good. The documented path says `api-token`, its neighbours `api-tokens`: both work.

use auth::Identity;
use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::access::Role;
use domain::ids::{OrganizationId, TokenId, WorkspaceId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::access::Anyone;
use web::{Permitted, Reply, Result};

use crate::State;

#[derive(Debug, Serialize, ToSchema)]
struct Validity {
    valid: bool,
    /// `null` for a session.
    token_id: Option<TokenId>,
    product_id: WorkspaceId,
    organization_id: OrganizationId,
    role: Role,
    expires_at: Option<DateTime<Utc>>,
}

/// Tells what the credential opens; 401 for one that opens nothing.
#[utoipa::path(get, path = "/api/api-token/auth/validate", tag = "API Tokens", responses((status = 200, body = Validity)))]
async fn validate_token(Extract(state): Extract<State>, caller: Permitted<Anyone>) -> Result<Reply<Validity>> {
    validity(&state, &caller).await
}

/// The same under the plural path.
#[utoipa::path(get, path = "/api/api-tokens/auth/validate", tag = "API Tokens", responses((status = 200, body = Validity)))]
async fn validate_token_plural(Extract(state): Extract<State>, caller: Permitted<Anyone>) -> Result<Reply<Validity>> {
    validity(&state, &caller).await
}

async fn validity(state: &State, caller: &Permitted<Anyone>) -> Result<Reply<Validity>> {
    let token_id = match caller.identity {
        Identity::Token(id, _) => Some(id),
        Identity::Session(_) => None,
    };
    let token = match token_id {
        Some(id) => state.host.store.token(caller.organization_id, id).await?,
        None => None,
    };
    Ok(Reply::ok(Validity {
        valid: true,
        token_id,
        product_id: caller.workspace_id,
        organization_id: caller.organization_id,
        role: caller.role,
        expires_at: token.and_then(|token| token.expires_at),
    }))
}

pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(validate_token)).routes(routes!(validate_token_plural))
}
