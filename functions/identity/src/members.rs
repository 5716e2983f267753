//! Who belongs to an organization. Invited by an administrator, who hands the code on; joined by registering with it.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::access::Role;
use domain::audit::AuditEntry;
use domain::identity::{Email, Member, MemberStatus};
use domain::ids::{UserId, WorkspaceId};
use domain::text::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::access::{AdminSession, Session};
use web::{
    Id, Json, Listed, NoContent, PageParams, Permitted, ProdgyPaging, Reply, Result,
};

use crate::State;
use crate::token_alignment::bring_tokens_in_line;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"role": "ADMIN", "workspaces": null}))]
struct UpdateMember {
    role: Option<Role>,
    /// `null` opens all workspaces.
    #[serde(default, deserialize_with = "web::present")]
    #[schema(value_type = Option<Vec<WorkspaceId>>)]
    workspaces: Option<Option<Vec<WorkspaceId>>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberData {
    id: UserId,
    email: Email,
    name: Name,
    role: Role,
    status: MemberStatus,
    workspaces: Option<Vec<WorkspaceId>>,
    created_at: DateTime<Utc>,
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
#[utoipa::path(get, path = "/api/organization/members", tag = "Organization", params(ProdgyPaging), security(("Session" = [])), responses((status = 200, body = Vec<MemberData>)))]
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

/// Changes a member's role or workspaces. For administrators; an organization keeps at least one. Tokens that the member has
/// made are lowered or revoked with it.
#[utoipa::path(
    patch,
    path = "/api/organization/members/{id}",
    tag = "Organization",
    params(("id" = UserId, Path)),
    request_body = UpdateMember,
    security(("Session" = [])),
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
    security(("Session" = [])),
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
            invitation_hash: None,
            ..member.clone()
        };
        let audit = AuditEntry::new(&caller.caller, "member.cancelled", "member", id, now);
        store
            .cancel_invitation(&organization, &member, &cancelled, &audit)
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

pub(crate) async fn read_membership(
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

pub(crate) fn grantable(role: Role) -> Result<(), Error> {
    match role {
        Role::SuperAdmin => Err(Error::invalid(
            "role",
            "SUPERADMIN is granted on the machine, by `signalbox admin grant`",
        )),
        Role::User | Role::Admin => Ok(()),
    }
}

pub(crate) async fn check_workspaces(
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
        .routes(routes!(list_members))
        .routes(routes!(update_member, remove_member))
}
