//! Amazon Bedrock: all of its chat models through one API, Converse, which answers in pieces.
//!
//! Its SDK's types are builders without serde, so everything is converted here at the edge, and its requests go through the
//! guarded client like all others.

mod connection;
mod document;
mod failure;
#[cfg(test)]
mod golden;
mod request;
mod stream;

use std::time::Duration;

use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::config::{
    Config, Credentials, Region, SharedHttpClient, StalledStreamProtectionConfig, Token,
};
use aws_smithy_runtime_api::client::auth::http::HTTP_BEARER_AUTH_SCHEME_ID;
use domain::credential::ProviderSecret;
use domain::model::{ModelName, Provider, bedrock_region};
use outbound::{MAX_REPLY, OutboundClient, OutboundError};

use crate::redact::{RedactingSink, hide_in_answer};
use crate::structure::without_frame;
use crate::{ModelError, ModelRequest, ModelResponse, prices};
use request::Conversation;
use stream::StreamAccumulator;

/// The account whose Bedrock it is.
#[derive(Clone, Debug)]
pub enum BedrockAccess {
    /// Of the account that this API key belongs to. `base_url` says the region.
    Key {
        secret: ProviderSecret,
        base_url: String,
    },
    /// Of the account that we run in.
    Role(BedrockRole),
}

/// The access of this process to its own AWS account.
#[derive(Clone, Debug)]
pub struct BedrockRole {
    pub credentials: Credentials,
    pub region: String,
    /// The address of Bedrock, when it is not the region's own.
    pub endpoint: Option<String>,
}

/// A model of Bedrock. Its client is made when it is asked.
#[derive(Clone, Debug)]
pub struct Bedrock {
    name: ModelName,
    /// The id of a model or of an inference profile, or its ARN.
    model: String,
    access: BedrockAccess,
    outbound: OutboundClient,
}

impl Bedrock {
    pub fn new(model: String, access: BedrockAccess, outbound: OutboundClient) -> Self {
        Self {
            name: ModelName::Hosted {
                provider: Provider::Bedrock,
                model: model.clone(),
            },
            model,
            access,
            outbound,
        }
    }

    pub(crate) async fn answer(
        &self,
        request: &ModelRequest,
        timeout: Duration,
        on_text: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ModelResponse, ModelError> {
        let connection = connection::through(self.outbound.clone(), timeout);
        self.converse(connection, request, on_text).await
    }

    async fn converse(
        &self,
        connection: SharedHttpClient,
        request: &ModelRequest,
        on_text: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ModelResponse, ModelError> {
        let Conversation {
            messages,
            system,
            inference,
            tools,
        } = request::conversation(&self.name, request)?;
        let sending = self
            .client(connection)
            .converse_stream()
            .model_id(&self.model)
            .set_messages(Some(messages))
            .set_system(system)
            .inference_config(inference)
            .set_tool_config(tools)
            .send();
        let mut events = match Box::pin(sending).await {
            Ok(output) => output.stream,
            Err(error) => return Err(self.failure(&error)),
        };
        let mut sink = RedactingSink::new(self.secret(), on_text);
        let is_structured = request.output_schema.is_some();
        let mut pieces = StreamAccumulator::default();
        loop {
            match events.recv().await {
                Ok(Some(event)) => {
                    let text = pieces.take(event);
                    // What is told cannot be taken back, and a frame around the JSON is.
                    if !is_structured {
                        sink.say(&text)?;
                    }
                }
                Ok(None) => break,
                // Nothing is missing.
                Err(_) if pieces.is_complete() => break,
                Err(error) => {
                    let failure = self.failure_in_the_middle(&error);
                    return Err(failure.unwrap_or_else(|| pieces.broken()));
                }
            }
            if pieces.size() > MAX_REPLY {
                return Err(OutboundError::TooLarge(MAX_REPLY).into());
            }
        }
        let mut answer = pieces.answer(&self.name)?;
        if is_structured {
            answer.text = without_frame(&answer.text).to_owned();
            sink.say(&answer.text)?;
        }
        sink.end();
        hide_in_answer(&mut answer, self.secret());
        answer.cost_micros = prices::cost_micros(&self.name, answer.usage);
        Ok(answer)
    }

    fn secret(&self) -> Option<&ProviderSecret> {
        match &self.access {
            BedrockAccess::Key { secret, .. } => Some(secret),
            BedrockAccess::Role(_) => None,
        }
    }

    /// A client for one request. Attempts are the caller's, and time and silence are what the connection watches.
    fn client(&self, connection: SharedHttpClient) -> Client {
        let config = Config::builder()
            .http_client(connection)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let config = match &self.access {
            BedrockAccess::Key { secret, base_url } => {
                // A region is wanted even where the address says it all.
                let region = bedrock_region(base_url).unwrap_or("us-east-1").to_owned();
                config
                    .region(Region::new(region))
                    .endpoint_url(base_url)
                    .bearer_token(Token::new(secret.expose(), None))
                    .auth_scheme_preference([HTTP_BEARER_AUTH_SCHEME_ID])
            }
            BedrockAccess::Role(role) => {
                let mut config = config
                    .region(Region::new(role.region.clone()))
                    .credentials_provider(role.credentials.clone());
                config.set_endpoint_url(role.endpoint.clone());
                config
            }
        };
        Client::from_conf(config.build())
    }
}
