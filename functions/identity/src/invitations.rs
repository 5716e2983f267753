//! Inviting people. The answer is the same for every address, whether or not it has an account. That shows only when the code is
//! used, and an existing account is not changed.

use auth::Policy;
use axum::extract::State as Extract;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::Error;
use domain::access::{Grant, Role, may_grant};
use domain::audit::AuditEntry;
use domain::digest::sha256_hex;
use domain::identity::{Email, Member, MemberStatus};
use domain::ids::WorkspaceId;
use domain::text::Name;
use rand::Rng;
use serde::{Deserialize, Serialize};
use store::Invitation;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::AdminSession;
use web::{ApiResponse, AppContext, Authorized, Clock, Json, NewId, Result, Routes};

use crate::State;
use crate::members::{
    MemberResponse, check_say, check_workspaces, grantable, holding_now, read_membership,
};

/// The time that an invitation can be used.
const LIFETIME: TimeDelta = TimeDelta::days(7);
/// The number of times that inviting is tried while others change the membership.
const ATTEMPTS: u32 = 5;

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(example = json!({"email": "grace@example.com", "name": "Grace Hopper", "role": "USER"}))]
struct Invite {
    email: Email,
    name: Option<Name>,
    #[serde(default = "Invite::default_role")]
    role: Role,
    /// The workspaces that the member may use, of those that the inviter may use; all of those when left out.
    workspaces: Option<Vec<WorkspaceId>>,
}

impl Invite {
    fn default_role() -> Role {
        Role::User
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Invitation)]
struct InvitationResponse {
    #[serde(flatten)]
    member: MemberResponse,
    /// The code that the invited person registers with. It is shown only here.
    invitation: String,
    expires_at: DateTime<Utc>,
}

/// Invites a person. The answer has the code to register with, which the administrator passes on. Inviting an address again ends
/// the earlier code, and gives the pending member this role and these workspaces.
#[utoipa::path(
    post,
    path = "/api/organization/members",
    tag = "Organization",
    request_body = Invite,
    security(("Session" = ["ADMIN"])),
    responses((status = 201, body = InvitationResponse), (status = 429))
)]
async fn invite_member(
    Extract(state): Extract<State>,
    Extract(context): Extract<AppContext>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<AdminSession>,
    fresh: NewId,
    Json(body): Json<Invite>,
) -> Result<ApiResponse<InvitationResponse>> {
    let now = clock.now();
    grantable(body.role)?;
    let policy = Policy::invitation(&context.services.config.limits, caller.organization_id);
    let limiter = context.authenticator.limiter();
    limiter.require_counted_in_hour(&policy, now).await?;
    let mut attempt = 1;
    loop {
        match invite(&state, &caller, fresh, body.clone()).await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => return Ok(ApiResponse::created(outcome?)),
        }
    }
}

async fn invite(
    state: &State,
    caller: &Authorized<AdminSession>,
    fresh: NewId,
    body: Invite,
) -> Result<InvitationResponse, Error> {
    let store = &state.context.store;
    let now = state.context.services.clock.now();
    let (organization, members) = read_membership(state, caller).await?;
    let holding = holding_now(caller, &members)?;
    check_workspaces(state, caller, body.workspaces.as_deref()).await?;
    let workspaces = body.workspaces.or(holding.workspaces.map(<[_]>::to_vec));
    may_grant(holding, Grant::Role(body.role))?;
    may_grant(holding, Grant::Workspaces(workspaces.as_deref()))?;
    let known = members
        .iter()
        .find(|member| member.email == body.email && member.status != MemberStatus::Cancelled);
    if let Some(known) = known {
        if known.status == MemberStatus::Active {
            return Err(Error::invalid("email", "is a member's already"));
        }
        check_say(holding, known)?;
    }
    let user_id = known.map_or_else(|| fresh.id(now), |known| known.user_id);
    let code = new_code();
    let invitation = Invitation {
        organization_id: organization.id,
        user_id,
        expires_at: now + LIFETIME,
    };
    let name = match (body.name, known) {
        (Some(name), _) => name,
        (None, Some(known)) => known.name.clone(),
        (None, None) => Name::for_field(
            "email",
            body.email.as_str().split('@').next().unwrap_or_default(),
        )?,
    };
    let member = Member {
        organization_id: organization.id,
        user_id,
        email: body.email,
        name,
        role: body.role,
        status: MemberStatus::Pending,
        workspaces,
        default_workspace_id: organization.default_workspace_id,
        password_version: 0,
        invitation_hash: Some(sha256_hex(&code)),
        created_at: known.map_or(now, |known| known.created_at),
        revision: 0,
    };
    let audit = AuditEntry::new(
        &caller.audit_context,
        "member.invited",
        "member",
        user_id,
        now,
    )
    .of_organization();
    store
        .invite(&organization, known, &member, &invitation, &audit)
        .await?;
    Ok(InvitationResponse {
        member: member.into(),
        invitation: code,
        expires_at: invitation.expires_at,
    })
}

fn new_code() -> String {
    let mut random = [0; 32];
    rand::rng().fill_bytes(&mut random);
    URL_SAFE_NO_PAD.encode(random)
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().authenticated(routes!(invite_member))
}
