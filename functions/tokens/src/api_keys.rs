//! Keys of Prowpt and AgentPlatform, `/api/settings/api-keys`, told apart by `kind`. The operations are for user sessions only.

use axum::extract::State as Extract;
use chrono::{DateTime, TimeDelta, Utc};
use domain::access::{Grant, Holding, is_agentplatform_scope, is_prowpt_scope, may_grant};
use domain::error::all_valid;
use domain::ids::{TokenId, WorkspaceId};
use domain::text::Name;
use domain::token::{NewToken, Token, TokenKind, TokenState, TokenStatus};
use domain::{Error, FieldError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::Session;
use web::{
    ApiResponse, AppContext, Authorized, Clock, Id, Json, NewId, NoContent, OptionalJson,
    PageParams, PageResponse, Params, ProwptPaging, Result, Routes, Store,
};

use crate::State;
use crate::lifecycle::{self, Grace};

const KINDS: &[TokenKind] = &[TokenKind::Prowpt, TokenKind::AgentPlatform];
/// The longest that an old secret may go on working.
const MAX_GRACE_SECONDS: i64 = 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum KeyKind {
    Prowpt,
    AgentPlatform,
}

impl From<KeyKind> for TokenKind {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Prowpt => Self::Prowpt,
            KeyKind::AgentPlatform => Self::AgentPlatform,
        }
    }
}

/// The time that an AgentPlatform key lasts: the five presets (AgentPlatform's API reference).
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
enum ExpiresIn {
    #[serde(rename = "30d")]
    ThirtyDays,
    #[serde(rename = "60d")]
    SixtyDays,
    #[serde(rename = "90d")]
    NinetyDays,
    #[serde(rename = "1y")]
    Year,
    #[serde(rename = "never")]
    Never,
}

impl ExpiresIn {
    fn from(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let days = match self {
            Self::ThirtyDays => 30,
            Self::SixtyDays => 60,
            Self::NinetyDays => 90,
            Self::Year => 365,
            Self::Never => return None,
        };
        Some(now + TimeDelta::days(days))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Zapier", "kind": "agentplatform", "scopes": ["agents:read", "signals:write"], "expires_in": "90d"}))]
struct CreateKey {
    name: Name,
    #[serde(default = "CreateKey::default_kind")]
    kind: KeyKind,
    /// `*` and `projects:*` are understood for Prowpt keys. `credentials:write` and `billing:purchase_credits` are for
    /// administrators to give, and work while the key's maker is one.
    scopes: Vec<String>,
    /// The workspace that the key opens; the session's when left out.
    workspace_id: Option<WorkspaceId>,
    /// Any moment, for Prowpt keys.
    expires_at: Option<DateTime<Utc>>,
    /// One of the presets, for AgentPlatform keys.
    expires_in: Option<ExpiresIn>,
    /// A limit of the key's own, at most the common one. Only the operator of the platform sets a higher one.
    rate_limit_per_minute: Option<u32>,
}

impl CreateKey {
    fn default_kind() -> KeyKind {
        KeyKind::Prowpt
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Zapier", "rate_limit_per_minute": 120}))]
struct UpdateKey {
    name: Option<Name>,
    scopes: Option<Vec<String>>,
    is_active: Option<bool>,
    /// At most the common limit, or the higher one that the operator of the platform has set.
    rate_limit_per_minute: Option<u32>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({"grace_seconds": 3600}))]
struct RotateKey {
    /// The time that the old secret goes on working. Default: 0.
    #[schema(minimum = 0, maximum = 86_400)]
    grace_seconds: Option<i64>,
}

/// A key as it is listed: without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct KeyResponse {
    id: TokenId,
    kind: TokenKind,
    name: Name,
    #[schema(example = "pk_live_")]
    prefix: String,
    /// The secret of before a rotation, while it still works.
    previous: Option<PreviousKey>,
    workspace_id: WorkspaceId,
    scopes: Vec<String>,
    status: TokenStatus,
    expires_at: Option<DateTime<Utc>>,
    rate_limit_per_minute: Option<u32>,
    usage_count: u64,
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

/// A replaced secret in its grace.
#[derive(Debug, Serialize, ToSchema)]
struct PreviousKey {
    #[schema(example = "pk_live_k8d9")]
    prefix: String,
    /// From this moment on it is refused.
    valid_until: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeyWithSecret)]
struct KeyWithSecretResponse {
    #[serde(flatten)]
    key_data: KeyResponse,
    /// The secret. It is shown only here.
    key: String,
}

impl KeyResponse {
    fn new(token: Token, now: DateTime<Utc>) -> Self {
        Self {
            id: token.id,
            status: token.status(now),
            previous: token
                .previous_at(now)
                .filter(|_| token.status(now) == TokenStatus::Active)
                .map(|previous| PreviousKey {
                    prefix: previous.prefix.clone(),
                    valid_until: previous.valid_until,
                }),
            kind: token.kind,
            name: token.name,
            prefix: token.prefix,
            workspace_id: token.workspace_id,
            scopes: token.scopes,
            expires_at: token.expires_at,
            rate_limit_per_minute: token.requests_per_minute,
            usage_count: token.usage_count,
            last_used_at: token.last_used_at,
            created_at: token.created_at,
        }
    }
}

/// The keys of a workspace (`workspace_id`, default the session's), newest first.
#[utoipa::path(get, path = "/api/settings/api-keys", tag = "API Keys", params(("workspace_id" = Option<WorkspaceId>, Query), ProwptPaging), security(("Session" = [])), responses((status = 200, body = Vec<KeyResponse>)))]
async fn list_keys(
    Extract(context): Extract<AppContext>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    query: Params,
    params: PageParams,
) -> Result<PageResponse<KeyResponse>> {
    let workspace = context
        .authenticator
        .workspace_for(&caller, query.parsed("workspace_id")?)
        .await?;
    let now = clock.now();
    let page = store
        .tokens(workspace, TokenKind::Prowpt, &params.request)
        .await?;
    Ok(PageResponse::new(
        page.map(|token| KeyResponse::new(token, now)),
        params,
    ))
}

/// Makes a key. Its secret is in this answer and never again. It may do what its scopes say and its maker may do. A workspace
/// has at most 100 live tokens and keys; those that are deleted, or have run out, do not count.
#[utoipa::path(post, path = "/api/settings/api-keys", tag = "API Keys", request_body = CreateKey, security(("Session" = [])), responses((status = 201, body = KeyWithSecretResponse)))]
async fn create_key(
    Extract(state): Extract<State>,
    Extract(context): Extract<AppContext>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    fresh: NewId,
    Json(body): Json<CreateKey>,
) -> Result<ApiResponse<KeyWithSecretResponse>> {
    let now = clock.now();
    check_scopes(body.kind.into(), &body.scopes)?;
    may_grant(caller.holding(), Grant::Scopes(&body.scopes))?;
    let common = common_limit(&state, body.kind.into());
    if let Some(wanted) = body.rate_limit_per_minute {
        let allowed = common;
        may_grant(
            caller.holding(),
            Grant::RequestsPerMinute { wanted, allowed },
        )?;
    }
    let expires_at = match (body.kind, body.expires_at, body.expires_in) {
        (_, Some(_), Some(_)) => {
            return Err(Error::invalid("expires_in", "cannot be combined with expires_at").into());
        }
        (KeyKind::AgentPlatform, Some(_), None) => {
            return Err(Error::invalid(
                "expires_at",
                "is not for AgentPlatform keys; use expires_in: 30d, 60d, 90d, 1y or never",
            )
            .into());
        }
        (_, expires_at, expires_in) => {
            expires_at.or(expires_in.and_then(|preset| preset.from(now)))
        }
    };
    let new = NewToken {
        id: fresh.id(now),
        kind: body.kind.into(),
        organization_id: caller.organization_id,
        user_id: caller.user()?,
        workspace_id: context
            .authenticator
            .workspace_for(&caller, body.workspace_id)
            .await?,
        maker: lifecycle::maker(&caller),
        name: body.name,
        own_role: None,
        scopes: body.scopes,
        expires_at,
        requests_per_minute: body.rate_limit_per_minute,
        is_raised_by_operator: body.rate_limit_per_minute > Some(common),
    };
    let (token, secret) = lifecycle::create(&state, &caller, new).await?;
    Ok(ApiResponse::created(KeyWithSecretResponse {
        key_data: KeyResponse::new(token, now),
        key: secret.expose().to_owned(),
    }))
}

/// Renames a key, changes its scopes or limit, or switches it on or off.
#[utoipa::path(patch, path = "/api/settings/api-keys/{id}", tag = "API Keys", params(("id" = TokenId, Path)), request_body = UpdateKey, security(("Session" = [])), responses((status = 200, body = KeyResponse)))]
async fn update_key(
    Extract(state): Extract<State>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    Id(id): Id<TokenId>,
    Json(body): Json<UpdateKey>,
) -> Result<ApiResponse<KeyResponse>> {
    let seen = lifecycle::find_to_change(&state, &caller, id, KINDS).await?;
    if seen.state == TokenState::Revoked {
        return Err(lifecycle::revoked().into());
    }
    if let Some(scopes) = &body.scopes {
        check_scopes(seen.kind, scopes)?;
        let is_new = |scope: &&String| !seen.scopes.contains(scope);
        let added: Vec<String> = scopes.iter().filter(is_new).cloned().collect();
        may_grant(caller.holding(), Grant::Scopes(&added))?;
        // They would have no effect on a key without the role that they need.
        let key = Holding {
            role: seen.role,
            workspaces: None,
        };
        may_grant(key, Grant::Scopes(&added))?;
    }
    let mut token = seen.clone();
    if let Some(wanted) = body.rate_limit_per_minute {
        let common = common_limit(&state, seen.kind);
        let allowed = match seen.requests_per_minute {
            Some(raised) if seen.is_raised_by_operator => raised.max(common),
            _ => common,
        };
        may_grant(
            caller.holding(),
            Grant::RequestsPerMinute { wanted, allowed },
        )?;
        token.requests_per_minute = Some(wanted);
        token.is_raised_by_operator = wanted > common;
    }
    if let Some(name) = body.name {
        token.name = name;
    }
    if let Some(scopes) = body.scopes {
        token.scopes = scopes;
    }
    match body.is_active {
        Some(true) => token.state = TokenState::Active,
        Some(false) => token.state = TokenState::Inactive,
        None => {}
    }
    let token = lifecycle::update(&state, &caller, &seen, token, None, "api_key.updated").await?;
    Ok(ApiResponse::ok(KeyResponse::new(token, clock.now())))
}

/// Deletes a key: it is refused from the next request on.
#[utoipa::path(delete, path = "/api/settings/api-keys/{id}", tag = "API Keys", params(("id" = TokenId, Path)), security(("Session" = [])), responses((status = 204)))]
async fn delete_key(
    Extract(state): Extract<State>,
    caller: Authorized<Session>,
    Id(id): Id<TokenId>,
) -> Result<NoContent> {
    let token = lifecycle::find_to_end(&state, &caller, id, KINDS).await?;
    lifecycle::delete(&state, &caller, &token).await?;
    Ok(NoContent)
}

/// Gives a key a new secret. The old one is refused from the next request on, or works for `grace_seconds` more beside the new
/// one. To rotate again ends an earlier grace at once; so does switching the key off.
#[utoipa::path(post, path = "/api/settings/api-keys/{id}/rotate", tag = "API Keys", params(("id" = TokenId, Path)), request_body = Option<RotateKey>, security(("Session" = [])), responses((status = 200, body = KeyWithSecretResponse)))]
async fn rotate_key(
    Extract(state): Extract<State>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<Session>,
    fresh: NewId,
    Id(id): Id<TokenId>,
    OptionalJson(body): OptionalJson<RotateKey>,
) -> Result<ApiResponse<KeyWithSecretResponse>> {
    let seconds = body.grace_seconds.unwrap_or(0);
    if !(0..=MAX_GRACE_SECONDS).contains(&seconds) {
        let message = format!("must be from 0 to {MAX_GRACE_SECONDS}");
        return Err(Error::invalid("grace_seconds", message).into());
    }
    let now = clock.now();
    let grace = (seconds > 0).then(|| Grace {
        lasts: TimeDelta::seconds(seconds),
        rotation: fresh.id(now),
    });
    let seen = lifecycle::find_to_change(&state, &caller, id, KINDS).await?;
    let token = seen.clone();
    let (token, secret) = lifecycle::regenerate(&state, &caller, &seen, token, grace).await?;
    Ok(ApiResponse::ok(KeyWithSecretResponse {
        key_data: KeyResponse::new(token, now),
        key: secret.expose().to_owned(),
    }))
}

fn check_scopes(kind: TokenKind, scopes: &[String]) -> Result<(), Error> {
    if scopes.is_empty() || scopes.len() > 50 {
        return Err(Error::invalid("scopes", "must name 1 to 50 scopes"));
    }
    let known = if kind == TokenKind::Prowpt {
        is_prowpt_scope
    } else {
        is_agentplatform_scope
    };
    let wrong = scopes.iter().enumerate().filter(|(_, scope)| !known(scope));
    all_valid(
        wrong
            .map(|(index, _)| {
                FieldError::new(
                    format!("scopes[{index}]"),
                    "is not a scope of this kind of key",
                )
            })
            .collect(),
    )
}

/// The limit of keys that have none of their own, per minute.
fn common_limit(state: &State, kind: TokenKind) -> u32 {
    let limits = &state.context.services.config.limits;
    match kind {
        TokenKind::AgentPlatform => limits.agentplatform,
        TokenKind::Prodgy | TokenKind::Prowpt => limits.prowpt,
    }
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(list_keys, create_key))
        .authenticated(routes!(update_key, delete_key))
        .authenticated(routes!(rotate_key))
}
