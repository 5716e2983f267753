//! Credentials as AgentPlatform has them: keys for the providers of models. They belong to the organization; all of its
//! workspaces use them.

use std::collections::BTreeSet;

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::audit::AuditEntry;
use domain::credential::{self, CredentialStatus, ProviderSecret};
use domain::ids::CredentialId;
use domain::model::{Provider, bedrock_region};
use domain::page::Page;
use domain::text::Name;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::access::{CredentialsRead, CredentialsWrite};
use web::{CursorPaging, FreshId, Id, Json, Listed, PageParams, Permitted, Reply, Result};

use crate::State;

/// The longest base URL, in bytes.
const MAX_URL: usize = 500;
/// How often revoking is tried when others write the credential meanwhile.
const ATTEMPTS: u32 = 3;

/// A credential without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct Credential {
    id: CredentialId,
    name: Name,
    provider: Provider,
    /// The beginning and the end of the secret.
    #[schema(example = "sk-…abcd")]
    masked: String,
    /// Where the provider is reached; `null` for its own address.
    base_url: Option<String>,
    status: CredentialStatus,
    created_at: DateTime<Utc>,
    /// To the minute.
    last_used_at: Option<DateTime<Utc>>,
}

impl From<credential::Credential> for Credential {
    fn from(credential: credential::Credential) -> Self {
        Self {
            id: credential.id,
            status: credential.status(),
            name: credential.name,
            provider: credential.provider,
            masked: credential.masked,
            base_url: credential.base_url,
            created_at: credential.created_at,
            last_used_at: credential.last_used_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
struct CreateCredential {
    name: Name,
    provider: Provider,
    /// The provider's key. It is sealed and never shown again.
    #[schema(value_type = String, min_length = 8, max_length = 4000)]
    secret: ProviderSecret,
    /// Where the provider is reached, for a service or gateway that speaks the provider's protocol:
    /// `https://llm.example.com/v1`. The provider's own address when left out. For Bedrock it says the region and can be
    /// nothing but `https://bedrock-runtime.<region>.amazonaws.com`; when left out, the region is the platform's.
    base_url: Option<String>,
}

/// Lists the credentials of the organization, newest first, revoked ones included.
#[utoipa::path(
    get, path = "/api/v1/credentials", tag = "Credentials",
    params(CursorPaging),
    security(("AgentPlatformKey" = ["credentials:read"])),
    responses((status = 200, body = Vec<Credential>)),
)]
async fn list_credentials(
    Extract(state): Extract<State>,
    caller: Permitted<CredentialsRead>,
    params: PageParams,
) -> Result<Listed<Credential>> {
    let page = state
        .host
        .store
        .credentials(caller.organization_id, &params.request)
        .await?;
    let items = page.items.into_iter().map(|row| shown(&state, row));
    let page = Page {
        items: try_join_all(items).await?,
        next_cursor: page.next_cursor,
        total: page.total,
    };
    Ok(Listed::new(page, params))
}

/// Stores a provider's key, sealed.
#[utoipa::path(
    post, path = "/api/v1/credentials", tag = "Credentials",
    request_body = CreateCredential,
    security(("AgentPlatformKey" = ["credentials:write"])),
    responses((status = 201, body = Credential)),
)]
async fn create_credential(
    Extract(state): Extract<State>,
    caller: Permitted<CredentialsWrite>,
    fresh: FreshId,
    Json(body): Json<CreateCredential>,
) -> Result<Reply<Credential>> {
    let services = &state.host.services;
    let now = services.clock.now();
    let (organization, id) = (caller.organization_id, fresh.id(now));
    let base_url = body
        .base_url
        .map(|text| base_url(&state, body.provider, &text))
        .transpose()?;
    let vault = &state.host.vault;
    let sealed = vault
        .seal_provider_key(organization, id, &body.secret)
        .await?;
    let credential = credential::Credential {
        id,
        organization_id: organization,
        name: body.name,
        provider: body.provider,
        base_url,
        sealed: Some(sealed),
        masked: body.secret.masked(),
        created_at: now,
        last_used_at: None,
        unsupported: BTreeSet::new(),
        revision: 0,
    };
    let audit = AuditEntry::new(&caller.caller, "credential.created", "credential", id, now);
    let store = &state.host.store;
    match store.create_credential(&credential, &audit).await {
        // The same request, sent again after it got no answer.
        Err(conflict @ Error::Conflict(_)) => {
            let existing = store.credential(organization, id).await?;
            Ok(Reply::created(existing.ok_or(conflict)?.into()))
        }
        outcome => Ok(outcome.map(|()| Reply::created(credential.into()))?),
    }
}

/// Shows a credential, without its secret.
#[utoipa::path(
    get, path = "/api/v1/credentials/{id}", tag = "Credentials",
    params(("id" = CredentialId, Path)),
    security(("AgentPlatformKey" = ["credentials:read"])),
    responses((status = 200, body = Credential)),
)]
async fn get_credential(
    Extract(state): Extract<State>,
    caller: Permitted<CredentialsRead>,
    Id(id): Id<CredentialId>,
) -> Result<Reply<Credential>> {
    let store = &state.host.store;
    let credential = store.credential(caller.organization_id, id).await?;
    let credential = credential.ok_or(Error::NotFound("credential"))?;
    Ok(Reply::ok(shown(&state, credential).await?))
}

/// A credential as it is shown: with its status, which takes opening its secret.
async fn shown(state: &State, credential: credential::Credential) -> Result<Credential, Error> {
    let is_active = credential.status() == CredentialStatus::Active;
    let vault = &state.host.vault;
    let is_unreadable = is_active && vault.open_provider_key(&credential).await?.is_none();
    let mut shown = Credential::from(credential);
    if is_unreadable {
        shown.status = CredentialStatus::Unreadable;
    }
    Ok(shown)
}

/// Revokes a credential for good: its secret is deleted, and agents that name it cannot reach their model. Revoking it again
/// changes nothing.
#[utoipa::path(
    post, path = "/api/v1/credentials/{id}/revoke", tag = "Credentials",
    params(("id" = CredentialId, Path)),
    security(("AgentPlatformKey" = ["credentials:write"])),
    responses((status = 200, body = Credential)),
)]
async fn revoke_credential(
    Extract(state): Extract<State>,
    caller: Permitted<CredentialsWrite>,
    Id(id): Id<CredentialId>,
) -> Result<Reply<Credential>> {
    let store = &state.host.store;
    let now = state.host.services.clock.now();
    let audit = AuditEntry::new(&caller.caller, "credential.revoked", "credential", id, now);
    let mut attempt = 1;
    loop {
        let credential = store
            .credential(caller.organization_id, id)
            .await?
            .ok_or(Error::NotFound("credential"))?;
        if credential.status() == CredentialStatus::Revoked {
            return Ok(Reply::ok(credential.into()));
        }
        let revoked = credential.revoked();
        match store.update_credential(&revoked, &audit).await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => return Ok(outcome.map(|()| Reply::ok(revoked.into()))?),
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

pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list_credentials, create_credential))
        .routes(routes!(get_credential))
        .routes(routes!(revoke_credential))
}
