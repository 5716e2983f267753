//! Who belongs to an organization. Invited by an administrator, who hands the code on; joined by registering with it.

use axum::extract::State as Extract;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::Error;
use domain::access::Role;
use domain::audit::AuditEntry;
use domain::digest::sha256_hex;
use domain::identity::{Email, Member, MemberStatus};
use domain::ids::{UserId, WorkspaceId};
use domain::text::Name;
use rand::Rng;
use serde::{Deserialize, Serialize};
use store::Invitation;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::access::{AdminSession, Session};
use web::{FreshId, Id, Json, Listed, NoContent, PageParams, Permitted, Reply, Result};

use crate::State;
use crate::token_alignment::bring_tokens_in_line;

/// How long an invitation can be used.
const INVITATION_LIFETIME: TimeDelta = TimeDelta::days(7);

#[derive(Debug, Deserialize, ToSchema)]
struct Invite {
    email: Email,
    name: Option<Name>,
    #[serde(default = "Invite::default_role")]
    role: Role,
    /// The workspaces that the member may use; all when left out.
    workspaces: Option<Vec<WorkspaceId>>,
}

impl Invite {
    fn default_role() -> Role {
        Role::User
    }
}

#[derive(Debug, Deserialize, ToSchema)]
struct UpdateMember {
    role: Option<Role>,
    /// `null` opens all workspaces.
    #[serde(default, deserialize_with = "web::present")]
    #[schema(value_type = Option<Vec<WorkspaceId>>)]
    workspaces: Option<Option<Vec<WorkspaceId>>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct MemberData {
    id: UserId,
    email: Email,
    name: Name,
    role: Role,
    status: MemberStatus,
    workspaces: Option<Vec<WorkspaceId>>,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
struct Invited {
    #[serde(flatten)]
    member: MemberData,
    /// What the invited person registers with. Shown only here.
    invitation: String,
    expires_at: DateTime<Utc>,
}

impl From<Member> for MemberData {
    fn from(member: Member) -> Self {
        Self {
            id: member.user_id,
            email: member.email,
            name: member.name,
            role: member.role,
            status: member.status,
            workspaces: member.workspaces,
            created_at: member.created_at,
        }
    }
}

/// The members of the organization, newest first.
#[utoipa::path(get, path = "/api/organization/members", tag = "Organization", responses((status = 200, body = Vec<MemberData>)))]
async fn list_members(
    Extract(state): Extract<State>,
    caller: Permitted<Session>,
    params: PageParams,
) -> Result<Listed<MemberData>> {
    let page = state
        .host
        .store
        .members(caller.organization_id, &params.request)
        .await?;
    Ok(Listed::new(page.map(MemberData::from), params))
}

/// Invites somebody. The answer has the code to register with; handing it on is the administrator's part.
#[utoipa::path(
    post,
    path = "/api/organization/members",
    tag = "Organization",
    request_body = Invite,
    responses((status = 201, body = Invited))
)]
async fn invite_member(
    Extract(state): Extract<State>,
    caller: Permitted<AdminSession>,
    fresh: FreshId,
    Json(body): Json<Invite>,
) -> Result<Reply<Invited>> {
    let store = &state.host.store;
    let now = state.host.services.clock.now();
    grantable(body.role)?;
    check_workspaces(&state, &caller, body.workspaces.as_deref()).await?;
    let (organization, members) = read_membership(&state, &caller).await?;
    let user_id: UserId = fresh.id(now);
    let code = new_code();
    let expires_at = now + INVITATION_LIFETIME;
    let invitation = Invitation {
        organization_id: organization.id,
        user_id,
        expires_at,
    };
    // The same request again, after its answer got lost: the code of then cannot be told, another one can.
    let waiting = members.iter().find(|member| member.user_id == user_id);
    if let Some(member) = waiting.filter(|member| member.status == MemberStatus::Pending) {
        store
            .invite_again(member, &invitation, &sha256_hex(&code))
            .await?;
        return Ok(Reply::created(Invited {
            member: member.clone().into(),
            invitation: code,
            expires_at,
        }));
    }
    let invited = members
        .iter()
        .any(|member| member.email == body.email && member.status != MemberStatus::Cancelled);
    if invited || store.user_by_email(&body.email).await?.is_some() {
        return Err(Error::invalid("email", "is already registered or invited").into());
    }
    let name = match body.name {
        Some(name) => name,
        None => Name::for_field(
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
        workspaces: body.workspaces,
        default_workspace_id: organization.default_workspace_id,
        sessions_valid_from: None,
        created_at: now,
        revision: 0,
    };
    let audit = AuditEntry::new(&caller.caller, "member.invited", "member", user_id, now);
    store
        .invite(
            &organization,
            &member,
            &invitation,
            &sha256_hex(&code),
            &audit,
        )
        .await?;
    Ok(Reply::created(Invited {
        member: member.into(),
        invitation: code,
        expires_at,
    }))
}

/// Changes a member's role or workspaces. For administrators; an organization keeps at least one. Tokens that the member has
/// made are lowered or revoked with it.
#[utoipa::path(
    patch,
    path = "/api/organization/members/{id}",
    tag = "Organization",
    params(("id" = UserId, Path)),
    request_body = UpdateMember,
    responses((status = 200, body = MemberData))
)]
async fn update_member(
    Extract(state): Extract<State>,
    caller: Permitted<AdminSession>,
    Id(id): Id<UserId>,
    Json(body): Json<UpdateMember>,
) -> Result<Reply<MemberData>> {
    let store = &state.host.store;
    let now = state.host.services.clock.now();
    if let Some(role) = body.role {
        grantable(role)?;
    }
    if let Some(Some(workspaces)) = &body.workspaces {
        check_workspaces(&state, &caller, Some(workspaces)).await?;
    }
    let (organization, members) = read_membership(&state, &caller).await?;
    let member = find(&members, id)?;
    caller.require_role(member.role)?;
    let changed = Member {
        role: body.role.unwrap_or(member.role),
        workspaces: body.workspaces.unwrap_or(member.workspaces.clone()),
        ..member
    };
    keep_an_administrator(&members, id, changed.role)?;
    let organization_id = organization.id;
    let align = || {
        bring_tokens_in_line(
            store,
            organization_id,
            id,
            Some(&changed),
            &caller.caller,
            now,
        )
    };
    align().await?;
    let audit = AuditEntry::new(&caller.caller, "member.updated", "member", id, now);
    store.update_member(&organization, &changed, &audit).await?;
    align().await?;
    Ok(Reply::ok(changed.into()))
}

/// Removes a member; sessions and tokens of the member end with it. An invitation is withdrawn and stays listed as cancelled,
/// until it is removed as well.
#[utoipa::path(
    delete,
    path = "/api/organization/members/{id}",
    tag = "Organization",
    params(("id" = UserId, Path)),
    responses((status = 200))
)]
async fn remove_member(
    Extract(state): Extract<State>,
    caller: Permitted<AdminSession>,
    Id(id): Id<UserId>,
) -> Result<NoContent> {
    let store = &state.host.store;
    let now = state.host.services.clock.now();
    let (organization, members) = read_membership(&state, &caller).await?;
    let member = find(&members, id)?;
    caller.require_role(member.role)?;
    keep_an_administrator(&members, id, Role::User)?;
    if member.status == MemberStatus::Pending {
        let cancelled = Member {
            status: MemberStatus::Cancelled,
            ..member
        };
        let audit = AuditEntry::new(&caller.caller, "member.cancelled", "member", id, now);
        store
            .update_member(&organization, &cancelled, &audit)
            .await?;
        return Ok(NoContent);
    }
    let organization_id = organization.id;
    let align = || bring_tokens_in_line(store, organization_id, id, None, &caller.caller, now);
    align().await?;
    let audit = AuditEntry::new(&caller.caller, "member.removed", "member", id, now);
    store.remove_member(&organization, &member, &audit).await?;
    align().await?;
    Ok(NoContent)
}

fn find(members: &[Member], id: UserId) -> Result<Member, Error> {
    members
        .iter()
        .find(|member| member.user_id == id)
        .cloned()
        .ok_or(Error::NotFound("member"))
}

fn new_code() -> String {
    let mut random = [0; 32];
    rand::rng().fill_bytes(&mut random);
    URL_SAFE_NO_PAD.encode(random)
}

async fn read_membership(
    state: &State,
    caller: &Permitted<AdminSession>,
) -> Result<(domain::identity::Organization, Vec<Member>), Error> {
    let store = &state.host.store;
    // The organization first: a change of the members in between then fails the write on its revision.
    let organization = store
        .organization(caller.organization_id)
        .await?
        .ok_or(Error::NotFound("organization"))?;
    Ok((
        organization,
        store.all_members(caller.organization_id).await?,
    ))
}

fn keep_an_administrator(members: &[Member], changed: UserId, role: Role) -> Result<(), Error> {
    let remains = members.iter().any(|member| {
        let role = if member.user_id == changed {
            role
        } else {
            member.role
        };
        member.status == MemberStatus::Active && role >= Role::Admin
    });
    if remains {
        Ok(())
    } else {
        Err(Error::Refused(
            "an organization keeps at least one administrator".to_owned(),
        ))
    }
}

fn grantable(role: Role) -> Result<(), Error> {
    match role {
        Role::SuperAdmin => Err(Error::invalid(
            "role",
            "SUPERADMIN is granted on the machine, by `signalbox admin grant`",
        )),
        Role::User | Role::Admin => Ok(()),
    }
}

async fn check_workspaces(
    state: &State,
    caller: &Permitted<AdminSession>,
    given: Option<&[WorkspaceId]>,
) -> Result<(), Error> {
    let workspaces = given.unwrap_or_default();
    if given.is_some_and(<[_]>::is_empty) {
        return Err(Error::invalid(
            "workspaces",
            "must name at least one; null opens all",
        ));
    }
    if workspaces.len() > 100 {
        return Err(Error::invalid("workspaces", "must be at most 100"));
    }
    let found = workspaces
        .iter()
        .map(|id| state.host.store.workspace(caller.organization_id, *id));
    match futures::future::try_join_all(found)
        .await?
        .iter()
        .position(Option::is_none)
    {
        Some(index) => Err(Error::invalid(
            format!("workspaces[{index}]"),
            "is not a workspace of the organization",
        )),
        None => Ok(()),
    }
}

pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_members, invite_member))
        .routes(routes!(update_member, remove_member))
}
