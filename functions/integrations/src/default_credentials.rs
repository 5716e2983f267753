//! The organization's default credentials: which one runs use that name none, in workspaces without one of their own.

use auth::Principal;
use axum::extract::State as Extract;
use domain::Error;
use domain::access::Role;
use domain::audit::AuditEntry;
use domain::credential::{self, CredentialStatus, DefaultCredentials};
use domain::ids::CredentialId;
use futures::future::try_join;
use utoipa_axum::routes;
use web::access::CredentialsWrite;
use web::{ApiResponse, Authorized, Id, NoContent, Result, Routes, found};

use crate::State;
use crate::credentials::ATTEMPTS;
use crate::view::{CredentialResponse, View};

/// Makes a credential of the organization its default for the provider, in place of the one before. Runs whose agent names no
/// credential use it in every workspace that has none of its own; without a default they have none, however many credentials the
/// organization has. This is for administrators of all workspaces.
#[utoipa::path(
    post, path = "/api/v1/credentials/{id}/default", tag = "Credentials",
    params(("id" = CredentialId, Path)),
    security(("AgentPlatformKey" = ["credentials:write"])),
    responses((status = 200, body = CredentialResponse), (status = 422)),
)]
async fn make_default_credential(
    Extract(state): Extract<State>,
    caller: Authorized<CredentialsWrite>,
    Id(id): Id<CredentialId>,
) -> Result<ApiResponse<CredentialResponse>> {
    let (credential, defaults) = choose(&state, &caller, id, true).await?;
    let shown = View::new(&caller, &defaults).credential(credential);
    Ok(ApiResponse::ok(shown))
}

/// Takes the choice of a default back: runs that would use it have no credential then. Nothing changes when it is not the default.
/// This is for administrators of all workspaces.
#[utoipa::path(
    delete, path = "/api/v1/credentials/{id}/default", tag = "Credentials",
    params(("id" = CredentialId, Path)),
    security(("AgentPlatformKey" = ["credentials:write"])),
    responses((status = 204)),
)]
async fn remove_default_credential(
    Extract(state): Extract<State>,
    caller: Authorized<CredentialsWrite>,
    Id(id): Id<CredentialId>,
) -> Result<NoContent> {
    choose(&state, &caller, id, false).await?;
    Ok(NoContent)
}

/// Makes a credential the default, or not, and gives it with what the choice is then.
async fn choose(
    state: &State,
    caller: &Principal,
    id: CredentialId,
    is_wanted: bool,
) -> Result<(credential::Credential, DefaultCredentials), Error> {
    caller.require_role_everywhere(Role::Admin)?;
    let store = &state.context.store;
    let now = state.context.services.clock.now();
    let action = if is_wanted {
        "credential.made_default"
    } else {
        "credential.default_removed"
    };
    let audit =
        AuditEntry::new(&caller.audit_context, action, "credential", id, now).of_organization();
    let mut attempt = 1;
    loop {
        let (credential, defaults) = try_join(
            found(store.credential(caller.organization_id, id)),
            store.default_credentials(caller.organization_id),
        )
        .await?;
        if is_wanted {
            check(&credential)?;
        }
        if defaults.has(&credential) == is_wanted {
            return Ok((credential, defaults));
        }
        let choice = if is_wanted {
            defaults.with(&credential)
        } else {
            defaults.without(&credential)
        };
        let chosen = store.choose_credential(&credential, &choice, &audit);
        match chosen.await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome.map(|()| (credential, choice)),
        }
    }
}

/// `Ok` for a credential that can be a default.
fn check(credential: &credential::Credential) -> Result<(), Error> {
    let why = if credential.workspace_id.is_some() {
        "the credential belongs to a workspace, whose agents use it without that"
    } else if credential.status() == CredentialStatus::Revoked {
        "the credential is revoked"
    } else {
        return Ok(());
    };
    Err(Error::Refused(why.to_owned()))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().authenticated(routes!(make_default_credential, remove_default_credential))
}
