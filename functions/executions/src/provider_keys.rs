//! The keys of an organization, opened for the run that needs one.

use auth::Keyring;
use domain::Result;
use domain::credential::{Credential, CredentialStatus};
use domain::ids::{CredentialId, OrganizationId};
use domain::model::Provider;
use domain::page::PageRequest;
use engine::{KeySource, ProviderKey};
use futures::future::BoxFuture;
use runtime::Services;
use store::Store;

/// How many credentials, from the newest, are looked through for one of a provider.
const NEWEST: u32 = 100;

/// Finds credentials in the store and opens them with the keyring as of now.
pub(crate) struct SealedKeys {
    services: Services,
    store: Store,
}

impl SealedKeys {
    pub(crate) fn new(services: Services, store: Store) -> Self {
        Self { services, store }
    }

    async fn find(
        &self,
        organization: OrganizationId,
        provider: Provider,
        wanted: Option<CredentialId>,
    ) -> Result<Option<Credential>> {
        let is_fit = |credential: &Credential| {
            credential.provider == provider && credential.status() == CredentialStatus::Active
        };
        if let Some(id) = wanted {
            let named = self.store.credential(organization, id).await?;
            // One that is revoked or gone is not quietly replaced by another.
            if named
                .as_ref()
                .is_none_or(|named| named.provider == provider)
            {
                return Ok(named.filter(is_fit));
            }
        }
        let newest = PageRequest::first(NEWEST);
        let page = self.store.credentials(organization, &newest).await?;
        Ok(page.items.into_iter().find(is_fit))
    }

    async fn open(
        &self,
        organization: OrganizationId,
        provider: Provider,
        wanted: Option<CredentialId>,
    ) -> Result<Option<ProviderKey>> {
        let Some(credential) = self.find(organization, provider, wanted).await? else {
            return Ok(None);
        };
        let keyring = Keyring::load(&self.services).await?;
        let Some(secret) = keyring.open_provider_key(&credential) else {
            tracing::warn!(credential.id = %credential.id, "credential cannot be opened");
            return Ok(None);
        };
        let now = self.services.clock.now();
        self.store.record_credential_use(&credential, now).await?;
        Ok(Some(ProviderKey {
            secret,
            base_url: credential.base_url,
        }))
    }
}

impl KeySource for SealedKeys {
    fn key(
        &self,
        organization: OrganizationId,
        provider: Provider,
        wanted: Option<CredentialId>,
    ) -> BoxFuture<'_, Result<Option<ProviderKey>>> {
        Box::pin(self.open(organization, provider, wanted))
    }
}
