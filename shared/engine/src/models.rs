//! The models that runs may ask, and the keys to them.

use std::time::Duration;

use domain::Result;
use domain::ids::CredentialId;
use domain::model::{ModelName, Provider};
use llm::{Api, Bedrock, BedrockAccess, HttpModel, Member, Model};
use outbound::OutboundClient;

use crate::provider_keys::{ProviderKey, ProviderKeys, Tenant};

/// A model to ask, and the credential that it is asked with, unless it is the platform's own.
pub(crate) struct FoundModel {
    pub(crate) model: Model,
    credential: Option<CredentialId>,
}

/// The models that runs may ask. Cheap to clone.
#[derive(Clone)]
pub struct Models {
    outbound: OutboundClient,
    keys: ProviderKeys,
    /// The time that a hosted model may take for one answer.
    pub(crate) timeout: Duration,
}

impl Models {
    /// `timeout`: how long a hosted model may take for one answer.
    pub fn new(outbound: OutboundClient, keys: ProviderKeys, timeout: Duration) -> Self {
        Self {
            outbound,
            keys,
            timeout,
        }
    }

    /// A model, with the tenant's key to it as it is now; the inner error is for people.
    pub(crate) async fn find(
        &self,
        tenant: Tenant,
        name: &ModelName,
        wanted: Option<CredentialId>,
    ) -> Result<Result<FoundModel, String>> {
        let found = |model, credential| Ok(Ok(FoundModel { model, credential }));
        let (provider, model) = match name {
            ModelName::Extractive => return found(Model::Extractive, None),
            ModelName::Hosted { provider, model } => (*provider, model.clone()),
        };
        let outbound = self.outbound.clone();
        let bedrock =
            |access| Model::Bedrock(Bedrock::new(model.clone(), access, outbound.clone()));
        let (credential, secret, base_url, unsupported) = match (
            provider,
            Box::pin(self.keys.key(tenant, provider, wanted)).await?,
        ) {
            (_, None) => {
                return Ok(Err(format!("there is no active credential for {provider}")));
            }
            (_, Some(ProviderKey::Unreadable(id))) => {
                return Ok(Err(format!(
                    "the credential {id} for {provider} cannot be opened any more; store its secret again"
                )));
            }
            (Provider::Bedrock, Some(ProviderKey::Role(role))) => {
                return found(bedrock(BedrockAccess::Role(role)), None);
            }
            (_, Some(ProviderKey::Role(_))) => return Ok(Err(nowhere(provider))),
            (
                _,
                Some(ProviderKey::Own {
                    credential,
                    secret,
                    base_url,
                    unsupported,
                }),
            ) => (Some(credential), secret, base_url, unsupported),
        };
        let api = match (provider, &base_url) {
            (Provider::OpenAi, _) => Api::ChatCompletions,
            (Provider::Anthropic, _) => Api::Messages,
            (Provider::Bedrock, Some(base_url)) => {
                let base_url = base_url.clone();
                return found(bedrock(BedrockAccess::Key { secret, base_url }), credential);
            }
            (Provider::Bedrock, None) => return Ok(Err(nowhere(provider))),
        };
        let unsupported = unsupported.iter().filter_map(|entry| member(&model, entry));
        let unsupported = unsupported.collect();
        let hosted = HttpModel::new(api, model, base_url, secret, outbound).without(unsupported);
        found(Model::Hosted(hosted), credential)
    }

    /// Remembers what the model's service turned out to refuse. That it cannot be written now costs a request another time.
    pub(crate) async fn remember(&self, tenant: Tenant, name: &ModelName, found: &FoundModel) {
        let learned = found.model.learned();
        let (Some(credential), ModelName::Hosted { model, .. }) = (found.credential, name) else {
            return;
        };
        if learned.is_empty() {
            return;
        }
        let entries = learned.into_iter().map(|member| entry(model, member));
        let entries = entries.collect();
        let remembered =
            self.keys
                .remember_unsupported(tenant.organization_id, credential, entries);
        if let Err(error) = remembered.await {
            tracing::warn!(%credential, %error, "what a model's service refuses was not remembered");
        }
    }
}

fn nowhere(provider: Provider) -> String {
    format!("the credential for {provider} does not say where it is")
}

/// An entry that is remembered beside a credential. Names of models have no spaces.
fn entry(model: &str, member: Member) -> String {
    format!("{member} {model}")
}

/// The member in an entry about this model.
fn member(model: &str, entry: &str) -> Option<Member> {
    let (member, of) = entry.split_once(' ')?;
    member.parse().ok().filter(|_| of == model)
}
