//! Registering: with an organization of one's own, or by an invitation into another. Registrations are counted per address.

use auth::{NamedLimit, begin_session, hash_password, issue_device_token, network_of};
use axum::extract::State as Extract;
use domain::Error;
use domain::audit::{Actor, AuditEntry, Caller};
use domain::digest::sha256_hex;
use domain::identity::{Email, Member, MemberStatus, NewPassword, User};
use domain::ids::WorkspaceId;
use domain::text::Name;
use keyring::Keyring;
use runtime::config::Registration;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::{ApiResponse, AppContext, Client, Json, PublicLimit, Result, RoutePolicy, Routes};

use crate::State;
use crate::new_account::NewAccount;
use crate::sign_in::{SessionResponse, UserResponse, signed_in};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"email": "ada@example.com", "password": "Correct-horse-7", "name": "Ada Lovelace", "organization": "Analytical Engines"}))]
struct Register {
    email: Email,
    password: NewPassword,
    name: Name,
    /// The new organization's name; default: the user's.
    organization: Option<Name>,
    /// The code of an invitation, to join its organization instead.
    invitation: Option<String>,
}

/// Creates a user with an organization and a workspace of their own, or joins the organization of an invitation.
#[utoipa::path(post, path = "/api/auth/register", tag = "Account", request_body = Register, security(()), responses((status = 201, body = SessionResponse), (status = 403), (status = 429)))]
async fn register(
    Extract(state): Extract<State>,
    Extract(context): Extract<AppContext>,
    client: Client,
    Json(body): Json<Register>,
) -> Result<ApiResponse<SessionResponse>> {
    let mode = context.services.config.registration;
    match (mode, &body.invitation) {
        (Registration::Closed, _) => {
            return Err(Error::Forbidden("registration is closed".to_owned()).into());
        }
        (Registration::Invite, None) => {
            return Err(Error::Forbidden("registration needs an invitation".to_owned()).into());
        }
        _ => {}
    }
    let keyring = Keyring::load(&context.services).await?;
    let password_hash = hash_password(body.password.expose().to_owned()).await?;
    let signed_in = match &body.invitation {
        Some(code) => {
            join_organization(&state, &keyring, &client, &body, code, password_hash).await?
        }
        None => create_organization(&state, &keyring, &client, &body, password_hash).await?,
    };
    Ok(ApiResponse::created(signed_in))
}

async fn create_organization(
    state: &State,
    keyring: &Keyring,
    client: &Client,
    body: &Register,
    password_hash: String,
) -> Result<SessionResponse, Error> {
    let now = state.context.services.clock.now();
    let organization = body
        .organization
        .clone()
        .unwrap_or_else(|| body.name.clone());
    let NewAccount {
        user,
        organization,
        workspace,
        member,
    } = NewAccount::new(
        body.email.clone(),
        body.name.clone(),
        organization,
        password_hash,
        now,
    )?;
    let network = Some(network_of(&client.ip));
    let (session, tokens) = begin_session(keyring, &member, network, now)?;
    let audit = AuditEntry::new(
        &caller(client, &user, workspace.id),
        "user.registered",
        "user",
        user.id,
        now,
    );
    // What can fail comes first: a registration is not made twice.
    let device_token = issue_device_token(&state.context.vault, &user).await?;
    state
        .context
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
    Ok(SessionResponse {
        tokens,
        device_token,
        user: UserResponse::new(&user, member.role),
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
) -> Result<SessionResponse, Error> {
    let store = &state.context.store;
    let now = state.context.services.clock.now();
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
        invitation_hash: None,
        ..member
    };
    let workspace_id = member.default_workspace().ok_or_else(invalid)?;
    let organization = store
        .organization(member.organization_id)
        .await?
        .ok_or_else(invalid)?;
    let network = Some(network_of(&client.ip));
    let (session, tokens) = begin_session(keyring, &member, network, now)?;
    let audit = AuditEntry::new(
        &caller(client, &user, workspace_id),
        "member.joined",
        "member",
        user.id,
        now,
    )
    .of_organization();
    let device_token = issue_device_token(&state.context.vault, &user).await?;
    let signed_in = signed_in(state, &user, &member, tokens, device_token).await?;
    store
        .accept_invitation(&organization, &hash, &user, &member, &session, &audit)
        .await?;
    Ok(signed_in)
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

pub(crate) fn routes() -> Routes<State> {
    let limit = PublicLimit::PerAddress(NamedLimit {
        name: "registration_ip",
        of: |limits| limits.sign_in,
    });
    Routes::new().with(RoutePolicy::public(limit), routes!(register))
}
