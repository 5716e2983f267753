//! Signing in and refreshing. Wrong passwords are limited per address and per account, in such a way that wrong passwords of others
//! do not lock an account's owner out.

use auth::{
    Exchange, Guess, NamedLimit, Policy, SessionTokens, begin_session, exchange,
    issue_device_token, known_device, network_of, session_of, verify_password,
};
use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::access::Role;
use domain::identity::{Email, Member, Organization, User, Workspace};
use domain::ids::{OrganizationId, UserId};
use domain::text::Name;
use keyring::Keyring;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::{
    ApiResponse, AppContext, Client, Clock, Json, PublicLimit, Result, RoutePolicy, Routes, Store,
    found,
};

use crate::State;

/// The number of times that a refresh is tried while others refresh the same session.
const ATTEMPTS: u32 = 5;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"email": "ada@example.com", "password": "Correct-horse-7"}))]
struct Login {
    email: String,
    password: String,
    /// The `device_token` of an earlier sign-in to this account. With it, wrong passwords of others do not lock this device out.
    device_token: Option<String>,
}

#[derive(Deserialize, ToSchema)]
struct Refresh {
    refresh_token: String,
}

/// A fresh session with what it gives access to.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionResponse {
    #[serde(flatten)]
    pub(crate) tokens: SessionTokens,
    /// A client keeps it, also after signing out, and sends it with the next sign-in. It is good until the password changes.
    pub(crate) device_token: String,
    pub(crate) user: UserResponse,
    pub(crate) organization: Organization,
    pub(crate) workspace: Workspace,
}

/// A user as shown to themselves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserResponse {
    pub(crate) id: UserId,
    pub(crate) email: Email,
    pub(crate) name: Name,
    pub(crate) role: Role,
    pub(crate) organization_id: OrganizationId,
    pub(crate) created_at: DateTime<Utc>,
}

impl UserResponse {
    pub(crate) fn new(user: &User, role: Role) -> Self {
        Self {
            id: user.id,
            email: user.email.clone(),
            name: user.name.clone(),
            role,
            organization_id: user.organization_id,
            created_at: user.created_at,
        }
    }
}

/// Signs in. A wrong password and an unknown address get the same answer, after the same time.
#[utoipa::path(post, path = "/api/auth/login", tag = "Account", request_body = Login, security(()), responses((status = 200, body = SessionResponse), (status = 401), (status = 429)))]
async fn login(
    Extract(state): Extract<State>,
    Extract(context): Extract<AppContext>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    client: Client,
    Json(body): Json<Login>,
) -> Result<ApiResponse<SessionResponse>> {
    let now = clock.now();
    let keyring = Keyring::load(&context.services).await?;
    let Login {
        email,
        password,
        device_token,
    } = body;
    let tried = email.trim().to_lowercase();
    let user = match Email::try_from(email) {
        Ok(email) => store.user_by_email(&email).await?,
        Err(_) => None,
    };
    let vault = &context.vault;
    let device = match (&user, &device_token) {
        (Some(user), Some(token)) => known_device(vault, user, token).await?,
        _ => None,
    };
    let guess = begin_guess(&state, &client, &tried, user.as_ref(), device).await?;
    let is_known = device.is_some();
    let device_token = device_token.filter(|_| is_known);
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let is_right = password.len() <= 1024 && verify_password(password, hash).await?;
    guess.was(is_right).await;
    let refused = || Error::Unauthenticated("wrong e-mail address or password".to_owned());
    let user = user.filter(|_| is_right).ok_or_else(refused)?;
    let member = store
        .member(user.organization_id, user.id)
        .await?
        .ok_or_else(refused)?;
    let network = Some(network_of(&client.ip));
    let (session, tokens) = begin_session(&keyring, &member, network, now)?;
    store.create_session(&session, &user).await?;
    let device_token = match device_token {
        Some(known) => known,
        None => issue_device_token(vault, &user).await?,
    };
    let signed_in = signed_in(&state, &user, &member, tokens, device_token);
    Ok(ApiResponse::ok(signed_in.await?))
}

/// Counts the attempt against the device that it comes from, if that is known, and else against its address and the account. Others
/// can use up the limit of the account: then the networks that the user has signed in from may still try.
async fn begin_guess(
    state: &State,
    client: &Client,
    email: &str,
    user: Option<&User>,
    device: Option<&str>,
) -> Result<Guess, Error> {
    let limits = &state.context.services.config.limits;
    let now = state.context.services.clock.now();
    let mut guess = Guess::new(state.context.authenticator.limiter().clone(), now);
    if let Some(device) = device {
        guess.count(Policy::sign_in_with(limits, device)).await?;
        return Ok(guess);
    }
    // The address is counted first: one that is over its limit must not use up the limits of accounts.
    guess
        .count(Policy::sign_in_from(limits, &client.ip))
        .await?;
    match guess.count(Policy::sign_in_to(limits, email)).await {
        Err(over @ Error::RateLimited(_)) => {
            let network = network_of(&client.ip);
            // This is asked for an unknown e-mail address too, so that the time of the answer does not tell.
            let no_user = UserId::first_at(DateTime::UNIX_EPOCH);
            let id = user.map_or(no_user, |user| user.id);
            let is_known = state.context.store.is_known_network(id, &network, now);
            if is_known.await? {
                Ok(guess)
            } else {
                // No password was tried, so none was wrong.
                guess.withdraw().await;
                Err(over)
            }
        }
        counted => counted.map(|()| guess),
    }
}

/// Exchanges a refresh token for fresh tokens. Each works once, and for 30 seconds more with the same outcome, for a second tab
/// or a client that has lost the answer. One that comes later is taken for stolen, and ends the session.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "Account", request_body = Refresh, security(()), responses((status = 200, body = SessionTokens), (status = 401), (status = 429)))]
async fn refresh_session(
    Extract(context): Extract<AppContext>,
    Extract(store): Extract<Store>,
    Json(body): Json<Refresh>,
) -> Result<ApiResponse<SessionTokens>> {
    let services = &context.services;
    let now = services.clock.now();
    let refused = || Error::Unauthenticated("the refresh token is not valid any more".to_owned());
    let mut keyring = Keyring::load(services).await?;
    let token = &body.refresh_token;
    let id = session_of(token).ok_or_else(refused)?;
    let mut session = store.session(id).await?.ok_or_else(refused)?;
    let member = store
        .member(session.organization_id, session.user_id)
        .await?
        .ok_or_else(refused)?;
    let mut is_renewed = false;
    for _ in 0..ATTEMPTS {
        if !session.is_good_for(&member, now) {
            return Err(refused().into());
        }
        match exchange(&keyring, &session, member.role, token, now)? {
            Exchange::Next(next, tokens) => match store.rotate_session(&session, &next).await? {
                Ok(()) => return Ok(ApiResponse::ok(tokens)),
                // Another request with the same token was faster.
                Err(stands) => session = stands.ok_or_else(refused)?,
            },
            Exchange::Repeated(tokens) => return Ok(ApiResponse::ok(tokens)),
            Exchange::Reused => {
                store.end_session(id).await?;
                return Err(refused().into());
            }
            // Another instance may have signed it with a key that this one has not heard of.
            Exchange::Unknown if !is_renewed => {
                keyring = Keyring::renewed(services).await?;
                is_renewed = true;
            }
            Exchange::Unknown => return Err(refused().into()),
        }
    }
    Err(Error::unavailable("a session kept being refreshed").into())
}

/// A session's tokens with organization and workspace, read side by side.
pub(crate) async fn signed_in(
    state: &State,
    user: &User,
    member: &Member,
    tokens: SessionTokens,
    device_token: String,
) -> Result<SessionResponse, Error> {
    let store = &state.context.store;
    let workspace = member
        .default_workspace()
        .ok_or(Error::NotFound("workspace"))?;
    let (organization, workspace) = futures::future::try_join(
        found(store.organization(member.organization_id)),
        found(store.workspace(member.organization_id, workspace)),
    )
    .await?;
    Ok(SessionResponse {
        tokens,
        device_token,
        user: UserResponse::new(user, member.role),
        organization,
        workspace,
    })
}

pub(crate) fn routes() -> Routes<State> {
    let refreshes = PublicLimit::PerAddress(NamedLimit {
        name: "account_ip",
        of: |limits| limits.account,
    });
    Routes::new()
        .with(RoutePolicy::public(PublicLimit::Handler), routes!(login))
        .with(RoutePolicy::public(refreshes), routes!(refresh_session))
}
