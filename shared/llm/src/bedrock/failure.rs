//! Failures of Bedrock.

use std::error::Error;

use aws_sdk_bedrockruntime::config::http::HttpResponse;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::converse_stream::ConverseStreamError;
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use outbound::OutboundError;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::{Bedrock, BedrockAccess};
use crate::ModelError;
use crate::failure::{MAX_ERROR, of_status, unreadable};
use crate::redact::hide;

impl Bedrock {
    /// The reason why there is no answer at all.
    pub(super) fn failure(
        &self,
        error: &SdkError<ConverseStreamError, HttpResponse>,
    ) -> ModelError {
        if let Some(cause) = outbound_cause(error) {
            return cause.into();
        }
        let reply = match error {
            SdkError::ServiceError(context) => context.raw(),
            SdkError::ResponseError(context) => context.raw(),
            SdkError::ConstructionFailure(_) => {
                return ModelError::Refused("Bedrock cannot be asked this".to_owned());
            }
            _ => return unreadable(),
        };
        let status = StatusCode::from_u16(reply.status().as_u16()).ok();
        let Some(status) = status.filter(|status| !status.is_success()) else {
            return unreadable();
        };
        // The SDK passes the words on of errors alone whose names it knows.
        let body = reply.body().bytes().unwrap_or_default();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let message = body["message"].as_str().or(body["Message"].as_str());
        let told = self.told(message);
        match (status, &self.access) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, BedrockAccess::Role(_)) => {
                // Bedrock's own words name our account and role.
                ModelError::Refused("this platform may not ask this model".to_owned())
            }
            (StatusCode::FORBIDDEN, _) if !told.is_empty() => {
                ModelError::Refused(format!("the provider refused the key: {told}"))
            }
            // The model made the error, not the request.
            (StatusCode::FAILED_DEPENDENCY, _) => {
                of_status(StatusCode::BAD_GATEWAY, &json!(told), &headers_of(reply))
            }
            _ => of_status(status, &json!(told), &headers_of(reply)),
        }
    }

    /// The reason why an answer does not go on; `None` when it just ends, or is not one.
    pub(super) fn failure_in_the_middle<R: std::fmt::Debug + 'static>(
        &self,
        error: &SdkError<ConverseStreamOutputError, R>,
    ) -> Option<ModelError> {
        use ConverseStreamOutputError::{
            ServiceUnavailableException, ThrottlingException, ValidationException,
        };
        if let Some(cause) = outbound_cause(error) {
            return Some(cause.into());
        }
        let SdkError::ServiceError(context) = error else {
            return None;
        };
        let status = match context.err() {
            ThrottlingException(_) => StatusCode::TOO_MANY_REQUESTS,
            ValidationException(_) => StatusCode::BAD_REQUEST,
            ServiceUnavailableException(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let told = self.told(context.err().message());
        Some(of_status(status, &json!(told), &HeaderMap::new()))
    }

    /// Bedrock's words, without the key.
    fn told(&self, message: Option<&str>) -> String {
        let message = hide(message.unwrap_or_default(), self.secret());
        message.chars().take(MAX_ERROR).collect()
    }
}

/// The objection of our own client.
fn outbound_cause(error: &(dyn Error + 'static)) -> Option<OutboundError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<OutboundError>() {
            return Some(found.clone());
        }
        cause = error.source();
    }
    None
}

fn headers_of(reply: &HttpResponse) -> HeaderMap {
    let headers = reply.headers().iter().filter_map(|(name, value)| {
        let name = HeaderName::try_from(name).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    });
    headers.collect()
}
