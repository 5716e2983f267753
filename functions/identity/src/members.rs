//! The members of an organization. Invited by an administrator, who hands the code on; joined by registering with it.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::access::{Grant, Holding, Role, may_grant};
use domain::audit::AuditEntry;
use domain::identity::{Email, Member, MemberStatus};
use domain::ids::{UserId, WorkspaceId};
use domain::text::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::{AdminSession, Session};
use web::{
    ApiResponse, Authorized, Clock, Entity, Id, Json, NoContent, PageParams, PageResponse,
    ProdgyPaging, Result, Routes, Store, found,
};

use crate::State;
use crate::token_restriction::{least_of, restrict_tokens_to_member};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"role": "ADMIN", "workspaces": null}))]
struct UpdateMember {
    role: Option<Role>,
    /// `null` opens all workspaces, which takes an administrator of all.
    #[serde(default, deserialize_with = "web::double_option")]
    #[schema(value_type = Option<Vec<WorkspaceId>>)]
    workspaces: Option<Option<Vec<WorkspaceId>>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(crate) struct MemberResponse {
    id: UserId,
    email: Email,
    name: Name,
    role: Role,
    status: MemberStatus,
    workspaces: Option<Vec<WorkspaceId>>,
    created_at: DateTime<Utc>,
}

impl From<Member> for MemberResponse {
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
#[utoipa::path(get, path = "/api/organization/members", tag = "Organization", params(ProdgyPaging), security(("Session" = [])), responses((status = 200, body = Vec<MemberResponse>)))]
async fn list_members(
    Extract(store): Extract<Store>,
    caller: Authorized<Session>,
    params: PageParams,
) -> Result<PageResponse<MemberResponse>> {
    let page = store
        .members(caller.organization_id, &params.request)
        .await?;
    Ok(PageResponse::new(page.map(MemberResponse::from), params))
}

/// Changes a member's role or workspaces. This is for administrators, who can give only what they have, and can change only members
/// whose workspaces they may all use. An organization keeps an administrator of all workspaces. Tokens that the member has made
/// follow the change: those for workspaces that are closed to the member now are revoked, all others have at most the member's role.
#[utoipa::path(
    patch,
    path = "/api/organization/members/{id}",
    tag = "Organization",
    params(("id" = UserId, Path)),
    request_body = UpdateMember,
    security(("Session" = ["ADMIN"])),
    responses((status = 200, body = MemberResponse))
)]
async fn update_member(
    Extract(state): Extract<State>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<AdminSession>,
    Id(id): Id<UserId>,
    Json(body): Json<UpdateMember>,
) -> Result<ApiResponse<MemberResponse>> {
    let now = clock.now();
    if let Some(role) = body.role {
        grantable(role)?;
    }
    let (organization, members) = read_membership(&state, &caller).await?;
    if let Some(Some(workspaces)) = &body.workspaces {
        check_workspaces(&state, &caller, Some(workspaces)).await?;
    }
    let holding = holding_now(&caller, &members)?;
    let member = find(&members, id)?;
    check_say(holding, &member)?;
    let changed = Member {
        role: body.role.unwrap_or(member.role),
        workspaces: body.workspaces.unwrap_or(member.workspaces.clone()),
        ..member.clone()
    };
    may_grant(holding, Grant::Role(changed.role))?;
    may_grant(holding, Grant::Workspaces(changed.workspaces.as_deref()))?;
    keep_an_administrator_of_all(&members, id, Some(&changed))?;
    let align = async |standing: &Member| {
        restrict_tokens_to_member(&store, id, Some(standing), &caller.audit_context, now).await
    };
    align(&least_of(&member, &changed)).await?;
    let audit = AuditEntry::new(&caller.audit_context, "member.updated", "member", id, now)
        .of_organization();
    store.update_member(&organization, &changed, &audit).await?;
    align(&changed).await?;
    Ok(ApiResponse::ok(changed.into()))
}

/// Removes a member; sessions and tokens of the member end with it. An invitation is withdrawn and stays listed as cancelled,
/// until it is removed as well.
#[utoipa::path(
    delete,
    path = "/api/organization/members/{id}",
    tag = "Organization",
    params(("id" = UserId, Path)),
    security(("Session" = ["ADMIN"])),
    responses((status = 200))
)]
async fn remove_member(
    Extract(state): Extract<State>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<AdminSession>,
    Id(id): Id<UserId>,
) -> Result<NoContent> {
    let now = clock.now();
    let (organization, members) = read_membership(&state, &caller).await?;
    let holding = holding_now(&caller, &members)?;
    let member = find(&members, id)?;
    check_say(holding, &member)?;
    keep_an_administrator_of_all(&members, id, None)?;
    if member.status == MemberStatus::Pending {
        let cancelled = Member {
            status: MemberStatus::Cancelled,
            invitation_hash: None,
            ..member.clone()
        };
        let audit = AuditEntry::new(&caller.audit_context, "member.cancelled", "member", id, now)
            .of_organization();
        store
            .cancel_invitation(&organization, &member, &cancelled, &audit)
            .await?;
        return Ok(NoContent);
    }
    let align = || restrict_tokens_to_member(&store, id, None, &caller.audit_context, now);
    align().await?;
    let audit = AuditEntry::new(&caller.audit_context, "member.removed", "member", id, now)
        .of_organization();
    store.remove_member(&organization, &member, &audit).await?;
    align().await?;
    Ok(NoContent)
}

fn find(members: &[Member], id: UserId) -> Result<Member, Error> {
    let mut members = members.iter();
    Member::or_not_found(members.find(|member| member.user_id == id).cloned())
}

pub(crate) async fn read_membership(
    state: &State,
    caller: &Authorized<AdminSession>,
) -> Result<(domain::identity::Organization, Vec<Member>), Error> {
    let store = &state.context.store;
    // The organization first: a change of the members or workspaces in between then fails the write on its revision.
    let organization = found(store.organization(caller.organization_id)).await?;
    Ok((
        organization,
        store.all_members(caller.organization_id).await?,
    ))
}

/// The rights that the caller may hand on, by the membership as it was just read: it may have changed since the request was let in.
pub(crate) fn holding_now<'a>(
    caller: &'a Authorized<AdminSession>,
    members: &'a [Member],
) -> Result<Holding<'a>, Error> {
    if caller.organization_id != caller.home_organization_id {
        return Ok(caller.holding());
    }
    let mut own = members
        .iter()
        .filter(|member| Some(member.user_id) == caller.user_id);
    let own = own
        .next()
        .ok_or_else(|| Error::Forbidden("you are no member any more".to_owned()))?;
    own.role.require(Role::Admin)?;
    Ok(Holding {
        role: own.role,
        workspaces: own.workspaces.as_deref(),
    })
}

/// `Ok` when the caller may change or remove a member: the caller's role is at least the member's, and the caller may use all of the
/// member's workspaces.
pub(crate) fn check_say(caller: Holding<'_>, member: &Member) -> Result<(), Error> {
    caller.role.require(member.role)?;
    may_grant(caller, Grant::Workspaces(member.workspaces.as_deref()))
        .map_err(|_| Error::Forbidden("the member may use workspaces that you may not".to_owned()))
}

/// `Ok` when the organization has an administrator of all workspaces once the member is as `changed`, or gone. Where it had none
/// before, an administrator of some workspaces is enough.
fn keep_an_administrator_of_all(
    members: &[Member],
    id: UserId,
    changed: Option<&Member>,
) -> Result<(), Error> {
    let others = members.iter().filter(|member| member.user_id != id);
    let after: Vec<&Member> = others.chain(changed).collect();
    let is_administrator =
        |member: &&Member| member.status == MemberStatus::Active && member.role >= Role::Admin;
    let remains = if members.iter().any(Member::administers_all) {
        after.iter().any(|member| member.administers_all())
    } else {
        after.iter().any(is_administrator)
    };
    if remains {
        Ok(())
    } else {
        Err(Error::Refused(
            "an organization keeps at least one administrator of all workspaces".to_owned(),
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

/// `Ok` for workspaces of the organization. It is to be read before them: see [`read_membership`].
pub(crate) async fn check_workspaces(
    state: &State,
    caller: &Authorized<AdminSession>,
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
        .map(|id| state.context.store.workspace(caller.organization_id, *id));
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

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(list_members))
        .authenticated(routes!(update_member, remove_member))
}
