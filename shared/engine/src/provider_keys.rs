//! The keys of workspaces and organizations to model providers, opened for the run that needs one.

use std::collections::BTreeSet;

use domain::Result;
use domain::credential::{Credential, CredentialStatus, ProviderSecret};
use domain::ids::{CredentialId, OrganizationId, WorkspaceId};
use domain::model::Provider;
use futures::future::try_join;
use keyring::Vault;
use llm::BedrockRole;
use runtime::Services;
use store::Store;

/// The number of times that a workspace's own credential is looked for that is revoked meanwhile.
const ATTEMPTS: u32 = 3;

/// A key to a provider.
#[derive(Clone, Debug)]
pub(crate) enum ProviderKey {
    /// One that the organization has given us.
    Own {
        credential: CredentialId,
        secret: ProviderSecret,
        /// The address of the provider, when it is not its own. Bedrock's has a region, so it is always there.
        base_url: Option<String>,
        /// The members that were remembered with [`ProviderKeys::remember_unsupported`].
        unsupported: BTreeSet<String>,
    },
    /// One that the organization has given us, and that cannot be opened any more.
    Unreadable(CredentialId),
    /// The platform's own role in AWS, for Bedrock alone.
    Role(BedrockRole),
}

/// The tenant whose runs ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenant {
    pub(crate) organization_id: OrganizationId,
    pub(crate) workspace_id: WorkspaceId,
}

/// Finds credentials in the store and opens them. Cheap to clone.
#[derive(Clone)]
pub struct ProviderKeys {
    services: Services,
    store: Store,
    vault: Vault,
}

/// The key for a provider, if there is one.
enum Found {
    Credential(Box<Credential>),
    /// The one that is wanted is revoked or gone, and is not quietly replaced by anything else.
    Withdrawn,
    Nothing,
}

impl ProviderKeys {
    pub fn new(services: Services, store: Store) -> Self {
        let vault = Vault::new(services.clone(), store.clone());
        Self {
            services,
            store,
            vault,
        }
    }

    async fn find(
        &self,
        tenant: Tenant,
        provider: Provider,
        wanted: Option<CredentialId>,
    ) -> Result<Found> {
        let (organization, workspace) = (tenant.organization_id, tenant.workspace_id);
        let is_fit = |credential: &Credential| {
            credential.provider == provider
                && credential.status() == CredentialStatus::Active
                && credential.serves(workspace)
        };
        if let Some(id) = wanted {
            let named = self.store.credential(organization, id).await?;
            if named
                .as_ref()
                .is_none_or(|named| named.provider == provider)
            {
                let named = named.filter(is_fit).map(Box::new);
                return Ok(named.map_or(Found::Withdrawn, Found::Credential));
            }
        }
        for _ in 0..ATTEMPTS {
            let (own, defaults) = try_join(
                self.store.own_credential(workspace, provider),
                self.store.default_credentials(organization),
            )
            .await?;
            let Some(id) = own.or(defaults.chosen.get(&provider).copied()) else {
                return Ok(Found::Nothing);
            };
            let chosen = self.store.credential(organization, id).await?;
            if let Some(credential) = chosen.filter(is_fit) {
                return Ok(Found::Credential(Box::new(credential)));
            }
            if own.is_none() {
                break;
            }
        }
        Ok(Found::Withdrawn)
    }

    /// The platform's own way to a provider.
    fn role(&self, provider: Provider) -> Option<BedrockRole> {
        let config = &self.services.config;
        let may = provider == Provider::Bedrock && config.outbound.bedrock_by_role;
        may.then(|| BedrockRole {
            credentials: config.aws.credentials(),
            region: config.aws.region.clone(),
            endpoint: config.aws.bedrock_endpoint.clone(),
        })
    }

    /// The key for a provider: the credential that is wanted if it is one of this provider, else the workspace's own, else the
    /// organization's default; `None` when there is none that is active.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be read now.
    pub(crate) async fn key(
        &self,
        tenant: Tenant,
        provider: Provider,
        wanted: Option<CredentialId>,
    ) -> Result<Option<ProviderKey>> {
        let credential = match self.find(tenant, provider, wanted).await? {
            Found::Credential(credential) => credential,
            Found::Withdrawn => return Ok(None),
            Found::Nothing => return Ok(self.role(provider).map(ProviderKey::Role)),
        };
        let Some(secret) = self.vault.open_provider_key(&credential).await? else {
            tracing::error!(credential.id = %credential.id, "credential cannot be opened");
            return Ok(Some(ProviderKey::Unreadable(credential.id)));
        };
        let now = self.services.clock.now();
        // A note for people, which is no reason for a run to fail.
        if let Err(error) = self.store.record_credential_use(&credential, now).await {
            tracing::warn!(credential.id = %credential.id, %error, "the use of a credential was not recorded");
        }
        let region = &self.services.config.aws.region;
        let own_region = || format!("https://bedrock-runtime.{region}.amazonaws.com");
        let base_url = match provider {
            Provider::Bedrock => Some(credential.base_url.unwrap_or_else(own_region)),
            Provider::OpenAi | Provider::Anthropic => credential.base_url,
        };
        Ok(Some(ProviderKey::Own {
            credential: credential.id,
            secret,
            base_url,
            unsupported: credential.unsupported,
        }))
    }

    /// Remembers what the service behind a credential refuses, so that it is not asked for again.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be written now.
    pub(crate) async fn remember_unsupported(
        &self,
        organization: OrganizationId,
        credential: CredentialId,
        entries: Vec<String>,
    ) -> Result<()> {
        self.store
            .remember_unsupported(organization, credential, entries)
            .await
    }
}
