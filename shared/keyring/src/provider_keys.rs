//! The keys of model providers, sealed: which purpose they have, and what they belong to.

use domain::Result;
use domain::credential::{Credential, ProviderSecret};
use domain::ids::{CredentialId, OrganizationId};

use crate::Vault;

const PURPOSE: &str = "provider-key";

impl Vault {
    /// Seals a provider's key for the credential `id` of an organization. It opens nowhere else.
    pub async fn seal_provider_key(
        &self,
        organization: OrganizationId,
        id: CredentialId,
        secret: &ProviderSecret,
    ) -> Result<String> {
        let context = context(organization, id);
        self.seal(PURPOSE, &context, secret.expose().as_bytes())
            .await
    }

    /// The key of a credential; `None` when it is revoked, or sealed with a key that is lost.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be opened now.
    pub async fn open_provider_key(
        &self,
        credential: &Credential,
    ) -> Result<Option<ProviderSecret>> {
        let Some(sealed) = &credential.sealed else {
            return Ok(None);
        };
        let context = context(credential.organization_id, credential.id);
        let opened = self.open(PURPOSE, &context, sealed).await?;
        Ok(opened.and_then(|bytes| String::from_utf8(bytes).ok()?.try_into().ok()))
    }

    /// Finds out which of these credentials can be opened.
    ///
    /// # Errors
    /// `Unavailable` when that cannot be told now.
    pub async fn try_provider_keys(&self, credentials: &mut [Credential]) -> Result<()> {
        for credential in credentials {
            let is_sealed = credential.sealed.is_some();
            credential.is_lost = is_sealed && self.open_provider_key(credential).await?.is_none();
        }
        Ok(())
    }
}

fn context(organization: OrganizationId, id: CredentialId) -> String {
    format!("{organization}/credential/{id}")
}
