//! Deleting a workspace, or the organization with all of its workspaces: `DELETE /api/workspaces/{id}`, `DELETE /api/organization`.
//!
//! What ends at once, and by what, is said at `store::deletions`; what the job removes afterwards at `store::removal`. Both
//! operations need a session of an administrator and the exact name of what is deleted, and cannot be taken back.
//!
//! The deletion of a workspace is in the organization's audit log, which administrators see in every workspace. The deletion of an
//! organization leaves no log that its members could read: it is in the function's log and, when an operator deletes
//! another organization, in the audit log of the operator's own.

use std::time::Duration;

use auth::Principal;
use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::access::Role;
use domain::audit::{AuditEntry, Caller};
use domain::identity::{Member, MemberStatus, Organization, Workspace};
use domain::ids::WorkspaceId;
use domain::text::Name;
use domain::{Error, Result as DomainResult};
use engine::Endings;
use futures::future::try_join;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use uuid::Uuid;
use web::access::AdminSession;
use web::{ApiResponse, Authorized, Entity, Id, Params, Result, Routes};

use crate::State;
use crate::members::{holding_now, read_membership};
use crate::token_restriction::restrict_tokens_to_member;

/// The time that a request ends keys, members and runs. What is left is ended by the deletion's job.
const ENDS_FOR: Duration = Duration::from_secs(15);
/// The number of times that a deletion is tried against others that change the membership.
const ATTEMPTS: u32 = 5;

/// The name of what is deleted, for the operation's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
struct Confirmation {
    /// The exact name of what is to be deleted.
    #[param(example = "Customer support")]
    name: String,
}

/// A deletion that was accepted: it can be used no more, and its data is being removed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedDeletion)]
struct AcceptedDeletionResponse {
    id: Uuid,
    name: Name,
    deleted_at: DateTime<Utc>,
}

/// Deletes a workspace with everything in it. This is for administrators; an organization keeps at least one workspace.
///
/// Its keys and schedules end at once, its runs are stopped, and its data is removed in the background. Members who could use no
/// other workspace have none until an administrator gives them one.
#[utoipa::path(
    delete,
    path = "/api/workspaces/{id}",
    tag = "Workspaces",
    params(("id" = WorkspaceId, Path), Confirmation),
    security(("Session" = ["ADMIN"])),
    responses((status = 202, body = AcceptedDeletionResponse))
)]
async fn delete_workspace(
    Extract(state): Extract<State>,
    caller: Authorized<AdminSession>,
    Id(id): Id<WorkspaceId>,
    params: Params,
) -> Result<ApiResponse<AcceptedDeletionResponse>> {
    let until = Instant::now() + ENDS_FOR;
    let mut attempt = 1;
    let accepted = loop {
        match try_delete_workspace(&state, &caller, id, &params, until).await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => break outcome?,
        }
    };
    Ok(ApiResponse::accepted(accepted))
}

async fn try_delete_workspace(
    state: &State,
    caller: &Authorized<AdminSession>,
    id: WorkspaceId,
    params: &Params,
    until: Instant,
) -> DomainResult<AcceptedDeletionResponse> {
    let store = &state.context.store;
    let organization_id = caller.organization_id;
    let (organization, members) = read_membership(state, caller).await?;
    let holding = holding_now(caller, &members)?;
    let (workspace, oldest) = try_join(
        store.workspace(organization_id, id),
        store.oldest_workspaces(organization_id),
    )
    .await?;
    let workspace = Workspace::or_not_found(workspace.filter(|_| holding.may_use(id)))?;
    confirmed(params, &workspace.name)?;
    let default = oldest.iter().find(|other| other.id != id);
    let default = default
        .ok_or_else(|| Error::Refused("an organization keeps at least one workspace".to_owned()))?;
    leave_an_administrator(&members, id, default.id)?;
    let organization = Organization {
        default_workspace_id: default.id,
        ..organization
    };
    let now = state.context.services.clock.now();
    let audit_caller = Caller {
        workspace_id: default.id,
        ..caller.audit_context.clone()
    };
    let audit = AuditEntry::new(&audit_caller, "workspace.deleted", "workspace", id, now);
    let audit = audit.of_organization();
    let deletion = store.delete_workspace(&organization, id, &audit).await?;
    endings(state)
        .begin(deletion, &caller.audit_context, until)
        .await;
    Ok(AcceptedDeletionResponse {
        id: id.as_uuid(),
        name: workspace.name,
        deleted_at: now,
    })
}

/// Deletes the organization with all of its workspaces, members and data. This is for administrators of all workspaces.
///
/// Sessions, keys and schedules end at once, runs are stopped, the members' e-mail addresses can be registered again, and the
/// data is removed in the background.
#[utoipa::path(
    delete,
    path = "/api/organization",
    tag = "Organization",
    params(Confirmation),
    security(("Session" = ["ADMIN"])),
    responses((status = 202, body = AcceptedDeletionResponse))
)]
async fn delete_organization(
    Extract(state): Extract<State>,
    caller: Authorized<AdminSession>,
    params: Params,
) -> Result<ApiResponse<AcceptedDeletionResponse>> {
    let until = Instant::now() + ENDS_FOR;
    let mut attempt = 1;
    let accepted = loop {
        match try_delete_organization(&state, &caller, &params, until).await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => break outcome?,
        }
    };
    Ok(ApiResponse::accepted(accepted))
}

async fn try_delete_organization(
    state: &State,
    caller: &Authorized<AdminSession>,
    params: &Params,
    until: Instant,
) -> DomainResult<AcceptedDeletionResponse> {
    let store = &state.context.store;
    let now = state.context.services.clock.now();
    let (organization, members) = read_membership(state, caller).await?;
    let holding = holding_now(caller, &members)?;
    holding.require_role_everywhere(Role::Admin)?;
    confirmed(params, &organization.name)?;
    // Members of a higher role than the caller's cannot be removed by the caller, and so not in this way either.
    for member in &members {
        holding.role.require(member.role)?;
    }
    // Only super admins can have tokens in other organizations.
    let operators: Vec<_> = members
        .iter()
        .filter(|member| member.role == Role::SuperAdmin && member.status == MemberStatus::Active)
        .collect();
    for operator in &operators {
        restrict_tokens_to_member(store, operator.user_id, None, &caller.audit_context, now)
            .await?;
    }
    let audit = audit_at_home(state, caller, &organization, now).await?;
    let deletion = store
        .delete_organization(&organization, audit.as_ref(), now)
        .await?;
    tracing::info!(organization.id = %organization.id, user.id = caller.user_id.map(tracing::field::display), "organization deleted");
    endings(state)
        .begin(deletion, &caller.audit_context, until)
        .await;
    Ok(AcceptedDeletionResponse {
        id: organization.id.as_uuid(),
        name: organization.name,
        deleted_at: now,
    })
}

/// For an operator who deletes another organization, the entry of the operator's own log.
async fn audit_at_home(
    state: &State,
    caller: &Principal,
    deleted: &Organization,
    now: DateTime<Utc>,
) -> DomainResult<Option<AuditEntry>> {
    let home = caller.home_organization_id;
    if home == deleted.id {
        return Ok(None);
    }
    let home = state.context.store.organization(home).await?;
    Ok(home.map(|home| {
        let at_home = Caller {
            organization_id: home.id,
            workspace_id: home.default_workspace_id,
            ..caller.audit_context.clone()
        };
        AuditEntry::new(
            &at_home,
            "organization.deleted",
            "organization",
            deleted.id,
            now,
        )
    }))
}

fn endings(state: &State) -> Endings {
    Endings::new(
        state.context.store.clone(),
        state.context.services.clock.clone(),
    )
}

/// `Ok` when the query names what is to be deleted.
fn confirmed(params: &Params, name: &Name) -> DomainResult<()> {
    match params.get("name") {
        None => Err(Error::invalid_query(
            "name",
            "is required: the name of what is to be deleted",
        )),
        Some(given) if given == name.as_str() => Ok(()),
        Some(_) => Err(Error::invalid_query(
            "name",
            "is not the name of what is to be deleted",
        )),
    }
}

/// `Ok` when an administrator still has a workspace once `deleted` is gone, and `default` is the organization's default.
fn leave_an_administrator(
    members: &[Member],
    deleted: WorkspaceId,
    default: WorkspaceId,
) -> DomainResult<()> {
    let remains = members.iter().any(|member| {
        let is_administrator = member.status == MemberStatus::Active && member.role >= Role::Admin;
        let after = member.without_workspace(deleted, default);
        let workspace = after.as_ref().unwrap_or(member).default_workspace();
        is_administrator && workspace.is_some()
    });
    if remains {
        Ok(())
    } else {
        Err(Error::Refused(
            "no administrator would have a workspace left; give one of them another first"
                .to_owned(),
        ))
    }
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(delete_workspace))
        .authenticated(routes!(delete_organization))
}
