//! Registering, signing in and refreshing: what works without a session. Guessing is slowed per address and per account.

use auth::{
    Keyring, Policy, SessionTokens, hash_password, issue_session, refresh_parts, verify_password,
};
use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::access::Role;
use domain::audit::{Actor, AuditEntry, Caller};
use domain::digest::sha256_hex;
use domain::identity::{Email, Member, MemberStatus, NewPassword, Organization, User, Workspace};
use domain::ids::{OrganizationId, UserId, WorkspaceId};
use domain::text::Name;
use runtime::config::Registration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{Client, Json, Reply, Result};

use crate::State;
use crate::founding::Founding;

#[derive(Debug, Deserialize, ToSchema)]
struct Register {
    email: Email,
    password: NewPassword,
    name: Name,
    /// The new organization's name; default: the user's.
    organization: Option<Name>,
    /// The code of an invitation, to join its organization instead.
    invitation: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct Login {
    email: String,
    password: String,
}

#[derive(Deserialize, ToSchema)]
struct Refresh {
    refresh_token: String,
}

/// A fresh session with what it gives access to.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedIn {
    #[serde(flatten)]
    pub(crate) tokens: SessionTokens,
    pub(crate) user: UserData,
    pub(crate) organization: Organization,
    pub(crate) workspace: Workspace,
}

/// A user as shown to themselves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserData {
    pub(crate) id: UserId,
    pub(crate) email: Email,
    pub(crate) name: Name,
    pub(crate) role: Role,
    pub(crate) organization_id: OrganizationId,
    pub(crate) created_at: DateTime<Utc>,
}

impl UserData {
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

/// Creates a user with an organization and a workspace of their own, or joins the organization of an invitation.
#[utoipa::path(post, path = "/api/auth/register", tag = "Account", request_body = Register, responses((status = 201, body = SignedIn)))]
async fn register(
    Extract(state): Extract<State>,
    client: Client,
    Json(body): Json<Register>,
) -> Result<Reply<SignedIn>> {
    slow_down(&state, &client, body.email.as_str()).await?;
    let mode = state.host.services.config.registration;
    match (mode, &body.invitation) {
        (Registration::Closed, _) => {
            return Err(Error::Forbidden("registration is closed".to_owned()).into());
        }
        (Registration::Invite, None) => {
            return Err(Error::Forbidden("registration needs an invitation".to_owned()).into());
        }
        _ => {}
    }
    let keyring = Keyring::load(&state.host.services).await?;
    let password_hash = hash_password(body.password.expose().to_owned()).await?;
    let signed_in = match &body.invitation {
        Some(code) => {
            join_organization(&state, &keyring, &client, &body, code, password_hash).await?
        }
        None => found_organization(&state, &keyring, &client, &body, password_hash).await?,
    };
    Ok(Reply::created(signed_in))
}

async fn found_organization(
    state: &State,
    keyring: &Keyring,
    client: &Client,
    body: &Register,
    password_hash: String,
) -> Result<SignedIn, Error> {
    let now = state.host.services.clock.now();
    let organization = body
        .organization
        .clone()
        .unwrap_or_else(|| body.name.clone());
    let Founding {
        user,
        organization,
        workspace,
        member,
    } = Founding::new(
        body.email.clone(),
        body.name.clone(),
        organization,
        password_hash,
        now,
    )?;
    let (session, tokens) = issue_session(
        keyring,
        None,
        user.id,
        organization.id,
        member.role,
        now,
        now,
    )?;
    let audit = AuditEntry::new(
        &caller(client, &user, workspace.id),
        "user.registered",
        "user",
        user.id,
        now,
    );
    state
        .host
        .store
        .register(
            &user,
            &organization,
            &workspace,
            &member,
            Some(&session),
            &audit,
        )
        .await?;
    Ok(SignedIn {
        tokens,
        user: UserData::new(&user, member.role),
        organization,
        workspace,
    })
}

async fn join_organization(
    state: &State,
    keyring: &Keyring,
    client: &Client,
    body: &Register,
    code: &str,
    password_hash: String,
) -> Result<SignedIn, Error> {
    let store = &state.host.store;
    let now = state.host.services.clock.now();
    let invalid = || Error::invalid("invitation", "is not valid any more");
    let hash = sha256_hex(code);
    let invitation = store
        .invitation(&hash)
        .await?
        .filter(|invitation| invitation.expires_at > now)
        .ok_or_else(invalid)?;
    let member = store
        .member(invitation.organization_id, invitation.user_id)
        .await?;
    let member = member
        .filter(|member| member.status == MemberStatus::Pending)
        .ok_or_else(invalid)?;
    if member.email != body.email {
        return Err(Error::invalid(
            "email",
            "is not the address that was invited",
        ));
    }
    let user = User {
        id: member.user_id,
        email: body.email.clone(),
        name: body.name.clone(),
        organization_id: member.organization_id,
        password_hash,
        created_at: now,
        revision: 0,
    };
    let member = Member {
        name: body.name.clone(),
        status: MemberStatus::Active,
        ..member
    };
    let workspace_id = member.default_workspace().ok_or_else(invalid)?;
    let organization = store
        .organization(member.organization_id)
        .await?
        .ok_or_else(invalid)?;
    let (session, tokens) = issue_session(
        keyring,
        None,
        user.id,
        member.organization_id,
        member.role,
        now,
        now,
    )?;
    let audit = AuditEntry::new(
        &caller(client, &user, workspace_id),
        "member.joined",
        "member",
        user.id,
        now,
    );
    store
        .accept_invitation(&organization, &hash, &user, &member, &session, &audit)
        .await?;
    signed_in(state, &user, &member, tokens).await
}

/// Signs in. A wrong password and an unknown address get the same answer, after the same time.
#[utoipa::path(post, path = "/api/auth/login", tag = "Account", request_body = Login, responses((status = 200, body = SignedIn)))]
async fn login(
    Extract(state): Extract<State>,
    client: Client,
    Json(body): Json<Login>,
) -> Result<Reply<SignedIn>> {
    slow_down(&state, &client, &body.email.trim().to_lowercase()).await?;
    let store = &state.host.store;
    let user = match Email::try_from(body.email) {
        Ok(email) => store.user_by_email(&email).await?,
        Err(_) => None,
    };
    let refused = || Error::Unauthenticated("wrong e-mail address or password".to_owned());
    if body.password.len() > 1024 {
        return Err(refused().into());
    }
    let verified = verify_password(
        body.password,
        user.as_ref().map(|user| user.password_hash.clone()),
    )
    .await?;
    let user = user.filter(|_| verified).ok_or_else(refused)?;
    let member = store
        .member(user.organization_id, user.id)
        .await?
        .ok_or_else(refused)?;
    let now = state.host.services.clock.now();
    let keyring = Keyring::load(&state.host.services).await?;
    let (session, tokens) = issue_session(
        &keyring,
        None,
        user.id,
        member.organization_id,
        member.role,
        now,
        now,
    )?;
    store.create_session(&session, &user).await?;
    Ok(Reply::ok(signed_in(&state, &user, &member, tokens).await?))
}

/// Exchanges a refresh token for fresh tokens. Each works once: one that comes a second time was stolen from somebody, and
/// ends the session for both.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "Account", request_body = Refresh, responses((status = 200, body = SessionTokens)))]
async fn refresh_session(
    Extract(state): Extract<State>,
    client: Client,
    Json(body): Json<Refresh>,
) -> Result<Reply<SessionTokens>> {
    let services = &state.host.services;
    let store = &state.host.store;
    let now = services.clock.now();
    let policy = Policy::account_from(&services.config.limits, &client.ip);
    state
        .host
        .authenticator
        .limiter()
        .require(&policy, now)
        .await?;

    let refused = || Error::Unauthenticated("the refresh token is not valid any more".to_owned());
    let keyring = Keyring::load(services).await?;
    let (id, hash) = refresh_parts(&keyring, &body.refresh_token).ok_or_else(refused)?;
    let session = store
        .session(id)
        .await?
        .filter(|session| session.expires_at > now)
        .ok_or_else(refused)?;
    if session.refresh_hash != hash {
        store.end_session(id).await?;
        return Err(refused().into());
    }
    let member = store
        .member(session.organization_id, session.user_id)
        .await?;
    let member = member
        .filter(|member| {
            member
                .sessions_valid_from
                .is_none_or(|from| session.created_at >= from)
        })
        .ok_or_else(refused)?;
    let (rotated, tokens) = issue_session(
        &keyring,
        Some(id),
        session.user_id,
        session.organization_id,
        member.role,
        session.created_at,
        now,
    )?;
    if !store.rotate_session(&rotated, &hash).await? {
        store.end_session(id).await?;
        return Err(refused().into());
    }
    Ok(Reply::ok(tokens))
}

/// Counts an attempt against the address that it comes from and the account that it aims at.
async fn slow_down(state: &State, client: &Client, email: &str) -> Result<(), Error> {
    let limits = &state.host.services.config.limits;
    let limiter = state.host.authenticator.limiter();
    let now = state.host.services.clock.now();
    // The address first: one that is over its own limit must not use up other people's.
    limiter
        .require(&Policy::sign_in_from(limits, &client.ip), now)
        .await?;
    limiter
        .require(&Policy::sign_in_to(limits, email), now)
        .await
}

/// A session's tokens with organization and workspace, read side by side.
pub(crate) async fn signed_in(
    state: &State,
    user: &User,
    member: &Member,
    tokens: SessionTokens,
) -> Result<SignedIn, Error> {
    let store = &state.host.store;
    let workspace = member
        .default_workspace()
        .ok_or(Error::NotFound("workspace"))?;
    let (organization, workspace) = futures::future::try_join(
        store.organization(member.organization_id),
        store.workspace(member.organization_id, workspace),
    )
    .await?;
    Ok(SignedIn {
        tokens,
        user: UserData::new(user, member.role),
        organization: organization.ok_or(Error::NotFound("organization"))?,
        workspace: workspace.ok_or(Error::NotFound("workspace"))?,
    })
}

fn caller(client: &Client, user: &User, workspace_id: WorkspaceId) -> Caller {
    Caller {
        actor: Actor::User(user.id),
        organization_id: user.organization_id,
        workspace_id,
        ip: Some(client.ip.clone()),
        user_agent: client.user_agent.clone(),
    }
}

pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh_session))
}
