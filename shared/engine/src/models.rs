//! The models that runs may ask, and the keys to them.

use std::sync::Arc;
use std::time::Duration;

use domain::Result;
use domain::credential::ProviderSecret;
use domain::ids::{CredentialId, OrganizationId};
use domain::model::{ModelName, Provider};
use futures::future::BoxFuture;
use llm::{Api, Bedrock, BedrockAccess, BedrockRole, Hosted, Model};
use outbound::OutboundClient;

/// A key to a provider.
#[derive(Clone, Debug)]
pub enum ProviderKey {
    /// One that the organization has given us.
    Own {
        secret: ProviderSecret,
        /// Where the provider is reached, when not at its own address. Bedrock's has a region, so it is always there.
        base_url: Option<String>,
    },
    /// The platform's own role in AWS, for Bedrock alone.
    Role(BedrockRole),
}

/// Where an organization's keys come from.
pub trait KeySource: Send + Sync {
    /// The key for a provider: the credential that is wanted if it is one of this provider, else the newest; `None` when there
    /// is none that is active.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be read now.
    fn key(
        &self,
        organization: OrganizationId,
        provider: Provider,
        wanted: Option<CredentialId>,
    ) -> BoxFuture<'_, Result<Option<ProviderKey>>>;
}

/// The models that runs may ask. Cheap to clone.
#[derive(Clone)]
pub struct Models {
    outbound: OutboundClient,
    keys: Arc<dyn KeySource>,
    /// How long a hosted model may take for one answer.
    pub(crate) timeout: Duration,
}

impl Models {
    /// `timeout`: how long a hosted model may take for one answer.
    pub fn new(outbound: OutboundClient, keys: Arc<dyn KeySource>, timeout: Duration) -> Self {
        Self {
            outbound,
            keys,
            timeout,
        }
    }

    /// A model, with the organization's key to it as it is now; the inner error is for people.
    pub(crate) async fn find(
        &self,
        organization: OrganizationId,
        name: &ModelName,
        wanted: Option<CredentialId>,
    ) -> Result<Result<Model, String>> {
        let (provider, model) = match name {
            ModelName::Extractive => return Ok(Ok(Model::Extractive)),
            ModelName::Hosted { provider, model } => (*provider, model),
        };
        let Some(key) = self.keys.key(organization, provider, wanted).await? else {
            return Ok(Err(format!("there is no active credential for {provider}")));
        };
        let (model, outbound) = (model.clone(), self.outbound.clone());
        let hosted = |api, secret, base_url| {
            Model::Hosted(Hosted::new(
                api,
                model.clone(),
                base_url,
                secret,
                outbound.clone(),
            ))
        };
        let bedrock =
            |access| Model::Bedrock(Bedrock::new(model.clone(), access, outbound.clone()));
        Ok(match (provider, key) {
            (Provider::OpenAi, ProviderKey::Own { secret, base_url }) => {
                Ok(hosted(Api::ChatCompletions, secret, base_url))
            }
            (Provider::Anthropic, ProviderKey::Own { secret, base_url }) => {
                Ok(hosted(Api::Messages, secret, base_url))
            }
            (
                Provider::Bedrock,
                ProviderKey::Own {
                    secret,
                    base_url: Some(base_url),
                },
            ) => Ok(bedrock(BedrockAccess::Key { secret, base_url })),
            (Provider::Bedrock, ProviderKey::Role(role)) => Ok(bedrock(BedrockAccess::Role(role))),
            (_, ProviderKey::Own { .. } | ProviderKey::Role(_)) => Err(format!(
                "the credential for {provider} does not say where it is"
            )),
        })
    }
}
