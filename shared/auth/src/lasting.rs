//! Credentials of requests whose answers take long: a credential may end before the answer does.

use domain::ids::{OrganizationId, WorkspaceId};
use domain::{Error, Result};
use futures::future::BoxFuture;
use http::HeaderMap;

use crate::{
    AuthRequest, AuthResult, Authenticator, Counting, Credential, CredentialPolicy, Identity,
    Principal,
};

/// The credential of a request, kept for as long as its answer takes. `Debug` does not show it.
pub struct Lasting {
    policy: &'static CredentialPolicy,
    headers: HeaderMap,
    ip: String,
    product: Option<WorkspaceId>,
    identity: Identity,
    tenant: (OrganizationId, WorkspaceId),
}

impl Lasting {
    /// `product`: the workspace that the request names, as for [`AuthRequest`].
    pub fn new(
        policy: &'static CredentialPolicy,
        headers: HeaderMap,
        product: Option<WorkspaceId>,
        principal: &Principal,
    ) -> Self {
        Self {
            policy,
            headers,
            ip: principal.audit_context.ip.clone().unwrap_or_default(),
            product,
            identity: principal.identity,
            tenant: (principal.organization_id, principal.workspace_id),
        }
    }

    /// Names the credential, as [`store::Store::spend_comeback`] is asked for it.
    ///
    /// # Errors
    /// `Unauthenticated` when the headers are not those of the principal's request.
    pub fn credential(&self) -> Result<String> {
        Ok(match self.identity {
            Identity::Token(..) => match Credential::read(self.policy, &self.headers)? {
                Credential::Token(secret) => secret.hash().to_string(),
                Credential::Session(_) => return Err(crate::credential::refused()),
            },
            other => other.to_string(),
        })
    }
}

impl Authenticator {
    /// Checks again that a credential gives access to the same workspace as before. The check is not counted.
    ///
    /// # Errors
    /// Those that a request with the credential would get now; `NotFound` when the credential leads to another workspace by now.
    pub async fn look_again(&self, lasting: &Lasting) -> Result<()> {
        let request = AuthRequest {
            policy: lasting.policy,
            strict: false,
            headers: &lasting.headers,
            ip: &lasting.ip,
            product_id: lasting.product,
            counting: Counting::Never,
        };
        // Boxed as a trait object, since the types of the futures around it are nested deeply.
        let authenticated: BoxFuture<'_, AuthResult> = Box::pin(self.authenticate(request));
        let now = authenticated.await.outcome?;
        if (now.organization_id, now.workspace_id) == lasting.tenant {
            Ok(())
        } else {
            Err(Error::NotFound("workspace"))
        }
    }
}

impl std::fmt::Debug for Lasting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Lasting").finish_non_exhaustive()
    }
}
