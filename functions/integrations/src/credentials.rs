//! Credentials as AgentPlatform has them: keys for the providers of models, each of a workspace or of the organization.

use std::collections::BTreeSet;

use axum::extract::State as Extract;
use domain::Error;
use domain::access::Role;
use domain::audit::AuditEntry;
use domain::credential::{self, CredentialStatus, ProviderSecret};
use domain::ids::CredentialId;
use domain::model::{Provider, bedrock_region};
use domain::text::Name;
use futures::future::{try_join, try_join_all};
use serde::Deserialize;
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::{CredentialsRead, CredentialsWrite};
use web::{
    ApiResponse, AppContext, Authorized, Clock, CursorPaging, Entity, Id, Json, NewId, PageParams,
    PageResponse, Result, Routes, Store,
};

use crate::State;
use crate::view::{CredentialResponse, Scope, View};

/// The longest base URL, in bytes.
const MAX_URL: usize = 500;
/// The number of times that a write is tried when others write the same meanwhile.
pub(crate) const ATTEMPTS: u32 = 3;

#[derive(Debug, Deserialize, ToSchema)]
struct CreateCredential {
    name: Name,
    provider: Provider,
    /// The provider's key. It is sealed and never shown again.
    #[schema(value_type = String, min_length = 8, max_length = 4000)]
    secret: ProviderSecret,
    /// The address of the provider, for a service or gateway that speaks the provider's protocol:
    /// `https://llm.example.com/v1`. The provider's own address when left out. For Bedrock it says the region and can be
    /// nothing but `https://bedrock-runtime.<region>.amazonaws.com`; when left out, the region is the platform's.
    base_url: Option<String>,
    /// `true` if it belongs to the key's workspace or to the organization, which takes an administrator of all workspaces.
    #[serde(default)]
    scope: Scope,
    /// Makes it the organization's default for its provider at once. This goes with `"scope": "organization"` alone.
    #[serde(default)]
    default: bool,
}

/// Lists credentials, newest first, revoked ones included: all of the organization for an administrator of all workspaces, for
/// others those of the key's workspace and, by name, the organization's defaults.
#[utoipa::path(
    get, path = "/api/v1/credentials", tag = "Credentials",
    params(CursorPaging),
    security(("AgentPlatformKey" = ["credentials:read"])),
    responses((status = 200, body = Vec<CredentialResponse>)),
)]
async fn list_credentials(
    Extract(context): Extract<AppContext>,
    Extract(store): Extract<Store>,
    caller: Authorized<CredentialsRead>,
    params: PageParams,
) -> Result<PageResponse<CredentialResponse>> {
    let (store, vault) = (&store, &context.vault);
    let request = &params.request;
    let defaults = store.default_credentials(caller.organization_id);
    let page = if View::is_whole(&caller) {
        let all = store.credentials(caller.organization_id, request);
        let (mut page, defaults) = try_join(all, defaults).await?;
        vault.try_provider_keys(&mut page.items).await?;
        let view = View::new(&caller, &defaults);
        page.map(|credential| view.credential(credential))
    } else {
        let own = store.credentials_of_workspace(caller.workspace_id, request);
        let (mut page, defaults) = try_join(own, defaults).await?;
        let chosen = defaults.chosen.values();
        let chosen = chosen.map(|id| store.credential(caller.organization_id, *id));
        let chosen = try_join_all(chosen).await?.into_iter().flatten();
        let mut chosen: Vec<_> = chosen.collect();
        for rows in [&mut page.items, &mut chosen] {
            vault.try_provider_keys(rows).await?;
        }
        View::new(&caller, &defaults).page(page, chosen, request)?
    };
    Ok(PageResponse::new(page, params))
}

/// Stores a provider's key, sealed. This is for administrators.
///
/// A credential belongs to the key's workspace, whose agents use the newest one of a model's provider unless they name another in
/// `credential_id`. One with `"scope": "organization"` can be named by the agents of all workspaces, and is used without being
/// named where it is the organization's default and the workspace has none of its own.
#[utoipa::path(
    post, path = "/api/v1/credentials", tag = "Credentials",
    request_body = CreateCredential,
    security(("AgentPlatformKey" = ["credentials:write"])),
    responses((status = 201, body = CredentialResponse)),
)]
async fn create_credential(
    Extract(state): Extract<State>,
    Extract(context): Extract<AppContext>,
    Extract(store): Extract<Store>,
    caller: Authorized<CredentialsWrite>,
    fresh: NewId,
    Json(body): Json<CreateCredential>,
) -> Result<ApiResponse<CredentialResponse>> {
    let services = &context.services;
    let now = services.clock.now();
    let (organization, id) = (caller.organization_id, fresh.id(now));
    let workspace_id = match body.scope {
        Scope::Workspace if body.default => {
            let why =
                "is for credentials of the organization: a workspace uses its own without that";
            return Err(Error::invalid("default", why).into());
        }
        Scope::Workspace => Some(caller.workspace_id),
        Scope::Organization => {
            caller.require_role_everywhere(Role::Admin)?;
            None
        }
    };
    let base_url = body
        .base_url
        .map(|text| base_url(&state, body.provider, &text))
        .transpose()?;
    let vault = &context.vault;
    let sealed = vault
        .seal_provider_key(organization, id, &body.secret)
        .await?;
    let credential = credential::Credential {
        id,
        organization_id: organization,
        workspace_id,
        name: body.name,
        provider: body.provider,
        base_url,
        sealed: Some(sealed),
        masked: body.secret.masked(),
        created_at: now,
        last_used_at: None,
        unsupported: BTreeSet::new(),
        is_lost: false,
        revision: 0,
    };
    let done = |action| {
        let entry = AuditEntry::new(&caller.audit_context, action, "credential", id, now);
        match credential.workspace_id {
            Some(_) => entry,
            None => entry.of_organization(),
        }
    };
    let mut audit = vec![done("credential.created")];
    if body.default {
        audit.push(done("credential.made_default"));
    }
    let mut attempt = 1;
    loop {
        let defaults = store.default_credentials(organization).await?;
        let choice = body.default.then(|| defaults.clone().with(&credential));
        let created = store.create_credential(&credential, choice.as_ref(), &audit);
        match created.await {
            Ok(()) => {
                let defaults = choice.unwrap_or(defaults);
                let shown = View::new(&caller, &defaults).credential(credential);
                return Ok(ApiResponse::created(shown));
            }
            Err(conflict @ Error::Conflict(_)) => {
                // The same request, sent again after it got no answer.
                if let Some(existing) = store.credential(organization, id).await? {
                    let shown = View::new(&caller, &defaults).credential(existing);
                    return Ok(ApiResponse::created(shown));
                }
                if attempt == ATTEMPTS {
                    return Err(conflict.into());
                }
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Shows a credential that the list shows, without its secret.
#[utoipa::path(
    get, path = "/api/v1/credentials/{id}", tag = "Credentials",
    params(("id" = CredentialId, Path)),
    security(("AgentPlatformKey" = ["credentials:read"])),
    responses((status = 200, body = CredentialResponse)),
)]
async fn get_credential(
    Extract(context): Extract<AppContext>,
    Extract(store): Extract<Store>,
    caller: Authorized<CredentialsRead>,
    Id(id): Id<CredentialId>,
) -> Result<ApiResponse<CredentialResponse>> {
    let (mut credential, defaults) = try_join(
        store.credential(caller.organization_id, id),
        store.default_credentials(caller.organization_id),
    )
    .await?;
    let vault = &context.vault;
    vault.try_provider_keys(credential.as_mut_slice()).await?;
    let view = View::new(&caller, &defaults);
    let shown = credential.and_then(|credential| view.of(credential));
    Ok(ApiResponse::ok(CredentialResponse::or_not_found(shown)?))
}

/// Revokes a credential for good: its secret is deleted, and agents that name it cannot reach their model, nor can those that use
/// it as the organization's default, until another one is made that. Revoking it again changes nothing. This is for
/// administrators, and for those of all workspaces where the credential is the organization's.
#[utoipa::path(
    post, path = "/api/v1/credentials/{id}/revoke", tag = "Credentials",
    params(("id" = CredentialId, Path)),
    security(("AgentPlatformKey" = ["credentials:write"])),
    responses((status = 200, body = CredentialResponse)),
)]
async fn revoke_credential(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<CredentialsWrite>,
    Id(id): Id<CredentialId>,
) -> Result<ApiResponse<CredentialResponse>> {
    let now = clock.now();
    let mut audit = AuditEntry::new(
        &caller.audit_context,
        "credential.revoked",
        "credential",
        id,
        now,
    );
    let mut attempt = 1;
    loop {
        let (credential, defaults) = try_join(
            store.credential(caller.organization_id, id),
            store.default_credentials(caller.organization_id),
        )
        .await?;
        let view = View::new(&caller, &defaults);
        let credential = credential.filter(|credential| view.shows(credential));
        let credential = credential::Credential::or_not_found(credential)?;
        if credential.workspace_id.is_none() {
            caller.require_role_everywhere(Role::Admin)?;
            audit = audit.of_organization();
        }
        if credential.status() == CredentialStatus::Revoked {
            return Ok(ApiResponse::ok(view.credential(credential)));
        }
        let revoked = credential.revoked();
        match store.update_credential(&revoked, &audit).await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => return Ok(outcome.map(|()| ApiResponse::ok(view.credential(revoked)))?),
        }
    }
}

/// A base URL that requests may be sent to, without a trailing slash.
fn base_url(state: &State, provider: Provider, text: &str) -> Result<String, Error> {
    let wrong = |why: &str| Error::invalid("base_url", why);
    if text.len() > MAX_URL {
        return Err(wrong(&format!("must be at most {MAX_URL} bytes")));
    }
    let url = Url::parse(text).map_err(|_| wrong("must be a URL"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must not have a query or fragment"));
    }
    let checked = state.outbound.check(&url);
    checked.map_err(|refused| wrong(&refused.to_string()))?;
    let base_url = url.as_str().trim_end_matches('/');
    // Only this machine is reached without TLS, where that is allowed.
    let is_local = url.scheme() == "http";
    if provider == Provider::Bedrock && !is_local && bedrock_region(base_url).is_none() {
        return Err(wrong(
            "must be https://bedrock-runtime.<region>.amazonaws.com",
        ));
    }
    Ok(base_url.to_owned())
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(list_credentials, create_credential))
        .authenticated(routes!(get_credential))
        .authenticated(routes!(revoke_credential))
}
