//! The keys of model providers, sealed: which purpose they have, and what they belong to.

use domain::Result;
use domain::credential::{Credential, ProviderSecret};
use domain::ids::{CredentialId, OrganizationId};

use crate::Keyring;

const PURPOSE: &str = "provider-key";

impl Keyring {
    /// Seals a provider's key for the credential `id` of an organization. It opens nowhere else.
    pub fn seal_provider_key(
        &self,
        organization: OrganizationId,
        id: CredentialId,
        secret: &ProviderSecret,
    ) -> Result<String> {
        self.seal(
            PURPOSE,
            &context(organization, id),
            secret.expose().as_bytes(),
        )
    }

    /// The key of a credential; `None` when it is revoked, or was sealed under a master secret that is gone.
    pub fn open_provider_key(&self, credential: &Credential) -> Option<ProviderSecret> {
        let context = context(credential.organization_id, credential.id);
        let bytes = self.open(PURPOSE, &context, credential.sealed.as_deref()?)?;
        String::from_utf8(bytes).ok()?.try_into().ok()
    }
}

fn context(organization: OrganizationId, id: CredentialId) -> String {
    format!("{organization}/credential/{id}")
}
