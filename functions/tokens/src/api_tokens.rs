//! Prodgy's API tokens, `/api/api-tokens` (Prodgy's endpoint list). They are for user sessions only.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::access::{Grant, Role, may_grant};
use domain::audit::Actor;
use domain::ids::{AuditId, TokenId, UserId, WorkspaceId};
use domain::text::Name;
use domain::token::{NewToken, Token, TokenAction, TokenKind, TokenState, TokenStatus};
use serde::{Deserialize, Serialize};
use store::TokenAuditEntry;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::Session;
use web::{
    ApiResponse, AppContext, Authorized, Clock, Id, Json, NewId, NoContent, OptionalJson,
    PageParams, PageResponse, ProdgyPaging, Result, RoutePolicy, Routes, Store,
};

use crate::State;
use crate::lifecycle;

const KIND: &[TokenKind] = &[TokenKind::Prodgy];

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "CI", "role": "USER", "expires_at": null}))]
struct CreateToken {
    name: Name,
    /// The workspace that the token opens; the session's when left out.
    product_id: Option<WorkspaceId>,
    expires_at: Option<DateTime<Utc>>,
    /// At most the caller's own. Default: USER.
    role: Option<Role>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "CI, main branch", "is_active": true}))]
struct UpdateToken {
    name: Option<Name>,
    /// Switches the token off, and on again.
    is_active: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"expires_at": null}))]
struct RenewToken {
    /// `null` means never.
    #[serde(deserialize_with = "Option::deserialize")]
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({"expires_at": null}))]
struct RegenerateToken {
    expires_at: Option<DateTime<Utc>>,
}

/// A token as it is listed: without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiToken)]
struct TokenResponse {
    id: TokenId,
    name: Name,
    #[schema(example = "prodgy_k")]
    prefix: String,
    product_id: WorkspaceId,
    /// Its rights: the lower of the role that it was made with and its maker's of now.
    role: Role,
    status: TokenStatus,
    expires_at: Option<DateTime<Utc>>,
    usage_count: u64,
    last_used_at: Option<DateTime<Utc>>,
    created_by: UserId,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiTokenWithSecret)]
struct TokenWithSecretResponse {
    #[serde(flatten)]
    token_data: TokenResponse,
    /// The secret. It is shown only here.
    token: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokenAuditLog)]
struct TokenAuditLogResponse {
    id: AuditId,
    action: TokenAction,
    ip: Option<String>,
    user_agent: Option<String>,
    /// The user or token that acted; `null` for the platform.
    actor_id: Option<String>,
    created_at: DateTime<Utc>,
}

impl TokenResponse {
    fn new(token: Token, now: DateTime<Utc>) -> Self {
        Self {
            id: token.id,
            status: token.status(now),
            name: token.name,
            prefix: token.prefix,
            product_id: token.workspace_id,
            role: token.role,
            expires_at: token.expires_at,
            usage_count: token.usage_count,
            last_used_at: token.last_used_at,
            created_by: token.user_id,
            created_at: token.created_at,
        }
    }
}

impl From<TokenAuditEntry> for TokenAuditLogResponse {
    fn from(entry: TokenAuditEntry) -> Self {
        let actor_id = match entry.actor {
            Actor::User(id) => Some(id.to_string()),
            Actor::ApiKey(id) => Some(id.to_string()),
            Actor::System => None,
        };
        Self {
            id: entry.id,
            action: entry.action,
            ip: entry.ip,
            user_agent: entry.user_agent,
            actor_id,
            created_at: entry.created_at,
        }
    }
}

/// Makes a token. Its secret is in this answer and never again. A workspace has at most 100 live tokens and keys; those that are
/// revoked, or have run out, do not count.
#[utoipa::path(post, path = "/api/api-tokens", tag = "API Tokens", request_body = CreateToken, security(("Session" = [])), responses((status = 201, body = TokenWithSecretResponse)))]
async fn create_token(
    Extract(state): Extract<State>,
    Extract(context): Extract<AppContext>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    fresh: NewId,
    Json(body): Json<CreateToken>,
) -> Result<ApiResponse<TokenWithSecretResponse>> {
    let role = body.role.unwrap_or(Role::User);
    may_grant(caller.holding(), Grant::Role(role))?;
    let now = clock.now();
    let new = NewToken {
        id: fresh.id(now),
        kind: TokenKind::Prodgy,
        organization_id: caller.organization_id,
        user_id: caller.user()?,
        workspace_id: context
            .authenticator
            .workspace_for(&caller, body.product_id)
            .await?,
        maker: lifecycle::maker(&caller),
        name: body.name,
        own_role: Some(role),
        scopes: Vec::new(),
        expires_at: body.expires_at,
        requests_per_minute: None,
        is_raised_by_operator: false,
    };
    let (token, secret) = lifecycle::create(&state, &caller, new).await?;
    Ok(ApiResponse::created(TokenWithSecretResponse {
        token_data: TokenResponse::new(token, now),
        token: secret.expose().to_owned(),
    }))
}

/// The tokens of a workspace, newest first.
#[utoipa::path(get, path = "/api/api-tokens/product/{id}", tag = "API Tokens", params(("id" = WorkspaceId, Path), ProdgyPaging), security(("Session" = [])), responses((status = 200, body = Vec<TokenResponse>)))]
async fn list_tokens(
    Extract(context): Extract<AppContext>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    Id(product): Id<WorkspaceId>,
    params: PageParams,
) -> Result<PageResponse<TokenResponse>> {
    let workspace = context
        .authenticator
        .workspace_for(&caller, Some(product))
        .await?;
    let now = clock.now();
    let page = store
        .tokens(workspace, TokenKind::Prodgy, &params.request)
        .await?;
    Ok(PageResponse::new(
        page.map(|token| TokenResponse::new(token, now)),
        params,
    ))
}

/// One token.
#[utoipa::path(get, path = "/api/api-tokens/{id}", tag = "API Tokens", params(("id" = TokenId, Path)), security(("Session" = [])), responses((status = 200, body = TokenResponse)))]
async fn get_token(
    Extract(state): Extract<State>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    Id(id): Id<TokenId>,
) -> Result<ApiResponse<TokenResponse>> {
    let token = lifecycle::find(&state, &caller, id, KIND).await?;
    Ok(ApiResponse::ok(TokenResponse::new(token, clock.now())))
}

/// Renames a token, or switches it on or off.
#[utoipa::path(put, path = "/api/api-tokens/{id}", tag = "API Tokens", params(("id" = TokenId, Path)), request_body = UpdateToken, security(("Session" = [])), responses((status = 200, body = TokenResponse)))]
async fn update_token(
    Extract(state): Extract<State>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    Id(id): Id<TokenId>,
    Json(body): Json<UpdateToken>,
) -> Result<ApiResponse<TokenResponse>> {
    let seen = lifecycle::find_to_change(&state, &caller, id, KIND).await?;
    if seen.state == TokenState::Revoked {
        return Err(lifecycle::revoked().into());
    }
    let mut token = seen.clone();
    if let Some(name) = body.name {
        token.name = name;
    }
    match body.is_active {
        Some(true) => token.state = TokenState::Active,
        Some(false) => token.state = TokenState::Inactive,
        None => {}
    }
    let token = lifecycle::update(&state, &caller, &seen, token, None, "api_key.updated").await?;
    Ok(ApiResponse::ok(TokenResponse::new(token, clock.now())))
}

/// Ends a token for good. Revoking a revoked one changes nothing.
#[utoipa::path(post, path = "/api/api-tokens/{id}/revoke", tag = "API Tokens", params(("id" = TokenId, Path)), security(("Session" = [])), responses((status = 200, body = TokenResponse)))]
async fn revoke_token(
    Extract(state): Extract<State>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    Id(id): Id<TokenId>,
) -> Result<ApiResponse<TokenResponse>> {
    let now = clock.now();
    let seen = lifecycle::find_to_end(&state, &caller, id, KIND).await?;
    if seen.state == TokenState::Revoked {
        return Ok(ApiResponse::ok(TokenResponse::new(seen, now)));
    }
    let token = Token {
        state: TokenState::Revoked,
        ..seen.clone()
    };
    let token = lifecycle::update(
        &state,
        &caller,
        &seen,
        token,
        Some(TokenAction::Revoked),
        "api_key.revoked",
    )
    .await?;
    Ok(ApiResponse::ok(TokenResponse::new(token, now)))
}

/// Gives a token a new expiry. One that had run out counts among the workspace's 100 live ones again.
#[utoipa::path(post, path = "/api/api-tokens/{id}/renew", tag = "API Tokens", params(("id" = TokenId, Path)), request_body = RenewToken, security(("Session" = [])), responses((status = 200, body = TokenResponse)))]
async fn renew_token(
    Extract(state): Extract<State>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    Id(id): Id<TokenId>,
    Json(body): Json<RenewToken>,
) -> Result<ApiResponse<TokenResponse>> {
    let now = clock.now();
    lifecycle::check_expiry(body.expires_at, now)?;
    let seen = lifecycle::find_to_change(&state, &caller, id, KIND).await?;
    if seen.state == TokenState::Revoked {
        return Err(lifecycle::revoked().into());
    }
    let token = Token {
        expires_at: body.expires_at,
        expiry_recorded: false,
        ..seen.clone()
    };
    let token = lifecycle::update(
        &state,
        &caller,
        &seen,
        token,
        Some(TokenAction::Renewed),
        "api_key.renewed",
    )
    .await?;
    Ok(ApiResponse::ok(TokenResponse::new(token, now)))
}

/// Gives a token a new secret. The old one is refused from the next request on (Prodgy's developer FAQ).
#[utoipa::path(post, path = "/api/api-tokens/{id}/regenerate", tag = "API Tokens", params(("id" = TokenId, Path)), request_body = Option<RegenerateToken>, security(("Session" = [])), responses((status = 200, body = TokenWithSecretResponse)))]
async fn regenerate_token(
    Extract(state): Extract<State>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    Id(id): Id<TokenId>,
    OptionalJson(body): OptionalJson<RegenerateToken>,
) -> Result<ApiResponse<TokenWithSecretResponse>> {
    let now = clock.now();
    lifecycle::check_expiry(body.expires_at, now)?;
    let seen = lifecycle::find_to_change(&state, &caller, id, KIND).await?;
    let token = Token {
        expires_at: body.expires_at.or(seen.expires_at),
        expiry_recorded: seen.expiry_recorded && body.expires_at.is_none(),
        ..seen.clone()
    };
    let (token, secret) = lifecycle::regenerate(&state, &caller, &seen, token, None).await?;
    Ok(ApiResponse::ok(TokenWithSecretResponse {
        token_data: TokenResponse::new(token, now),
        token: secret.expose().to_owned(),
    }))
}

/// Deletes a token. Its audit log stays.
#[utoipa::path(delete, path = "/api/api-tokens/{id}", tag = "API Tokens", params(("id" = TokenId, Path)), security(("Session" = [])), responses((status = 200)))]
async fn delete_token(
    Extract(state): Extract<State>,
    caller: Authorized<Session>,
    Id(id): Id<TokenId>,
) -> Result<NoContent> {
    let token = lifecycle::find_to_end(&state, &caller, id, KIND).await?;
    lifecycle::delete(&state, &caller, &token).await?;
    Ok(NoContent)
}

/// The log of a token, newest first.
#[utoipa::path(get, path = "/api/api-tokens/{id}/audit-logs", tag = "API Tokens", params(("id" = TokenId, Path), ProdgyPaging), security(("Session" = [])), responses((status = 200, body = Vec<TokenAuditLogResponse>)))]
async fn list_token_audit_logs(
    Extract(state): Extract<State>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    Id(id): Id<TokenId>,
    params: PageParams,
) -> Result<PageResponse<TokenAuditLogResponse>> {
    lifecycle::find_for_log(&state, &caller, id, KIND).await?;
    let (organization, now) = (caller.organization_id, clock.now());
    let log = store.token_audit_log(organization, id, &params.request, now);
    let page = log.await?;
    Ok(PageResponse::new(
        page.map(TokenAuditLogResponse::from),
        params,
    ))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .with(RoutePolicy::authenticated().strict(), routes!(create_token))
        .authenticated(routes!(list_tokens))
        .authenticated(routes!(get_token, update_token, delete_token))
        .authenticated(routes!(revoke_token))
        .authenticated(routes!(renew_token))
        .with(
            RoutePolicy::authenticated().strict(),
            routes!(regenerate_token),
        )
        .authenticated(routes!(list_token_audit_logs))
}
