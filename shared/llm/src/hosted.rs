//! What hosted models share: one HTTP request through the guarded client, and what its failure means.

use std::time::Duration;

use chrono::DateTime;
use domain::credential::ProviderSecret;
use domain::model::{ModelName, Provider};
use domain::run::ToolOutcome;
use outbound::{OutboundClient, OutboundError, OutboundRequest, OutboundResponse};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use crate::{ModelAnswer, ModelError, ModelRequest, anthropic, openai, prices};

/// What a model is told when there is nothing to tell it: providers refuse empty messages.
pub(crate) const NO_INPUT: &str = "(There is no input.)";
/// How much of a provider's own error text is passed on, in characters.
const MAX_ERROR: usize = 300;

/// A model behind a provider's API, with the key to it.
#[derive(Clone, Debug)]
pub struct Hosted {
    name: ModelName,
    provider: Provider,
    /// The provider's word for the model.
    model: String,
    base_url: Option<String>,
    secret: ProviderSecret,
    outbound: OutboundClient,
}

impl Hosted {
    /// The model that a provider calls `model`, at the provider's own address or at `base_url`.
    pub fn new(
        provider: Provider,
        model: String,
        base_url: Option<String>,
        secret: ProviderSecret,
        outbound: OutboundClient,
    ) -> Self {
        Self {
            name: ModelName::Hosted {
                provider,
                model: model.clone(),
            },
            provider,
            model,
            base_url,
            secret,
            outbound,
        }
    }

    pub(crate) async fn answer(
        &self,
        request: &ModelRequest,
        timeout: Duration,
        on_text: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ModelAnswer, ModelError> {
        let outgoing = self.outgoing(request, timeout)?;
        let response = self.outbound.send(outgoing).await?;
        // A service that echoes its requests shall not get the key into a journal.
        let body = String::from_utf8_lossy(&response.body).replace(self.secret.expose(), "…");
        if !response.status.is_success() {
            return Err(self.failure(&response, &body));
        }
        let body = serde_json::from_str(&body).map_err(|_| unreadable())?;
        let mut answer = match self.provider {
            Provider::OpenAi => openai::answer(&self.name, body),
            Provider::Anthropic => anthropic::answer(&self.name, body),
        }?;
        if !answer.text.is_empty() {
            on_text(&answer.text);
        }
        answer.cost_micros = prices::cost_micros(&self.name, answer.usage);
        Ok(answer)
    }

    fn outgoing(
        &self,
        request: &ModelRequest,
        timeout: Duration,
    ) -> Result<OutboundRequest, ModelError> {
        let refused = |why: &str| ModelError::Refused(why.to_owned());
        let (own_address, path, body) = match self.provider {
            Provider::OpenAi => (
                openai::BASE_URL,
                openai::PATH,
                openai::body(&self.model, request, self.base_url.is_none()),
            ),
            Provider::Anthropic => (
                anthropic::BASE_URL,
                anthropic::PATH,
                anthropic::body(&self.model, request),
            ),
        };
        let base = self.base_url.as_deref().unwrap_or(own_address);
        let url = Url::parse(&format!("{base}{path}"));
        let url = url.map_err(|_| refused("the credential's base URL is not a URL"))?;
        let (name, value) = match self.provider {
            Provider::OpenAi => (
                header::AUTHORIZATION,
                format!("Bearer {}", self.secret.expose()),
            ),
            Provider::Anthropic => (
                HeaderName::from_static("x-api-key"),
                self.secret.expose().to_owned(),
            ),
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| refused("the key cannot be sent in a header"))?;
        value.set_sensitive(true);
        let mut headers = HeaderMap::from_iter([
            (name, value),
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            ),
        ]);
        if self.provider == Provider::Anthropic {
            headers.insert("anthropic-version", anthropic::VERSION);
        }
        Ok(OutboundRequest {
            headers,
            body: Some(body.to_string().into()),
            timeout,
            ..OutboundRequest::new(Method::POST, url)
        })
    }

    fn failure(&self, response: &OutboundResponse, body: &str) -> ModelError {
        let status = response.status;
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let error = &body["error"];
        let told = error["message"].as_str().or(error.as_str());
        let told: String = told.unwrap_or_default().chars().take(MAX_ERROR).collect();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                ModelError::Refused("the provider refused the key".to_owned())
            }
            // Waiting does not help here, unlike with every other 429.
            StatusCode::TOO_MANY_REQUESTS if error["code"] == "insufficient_quota" => {
                ModelError::Refused("the key's quota is used up".to_owned())
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => {
                self.unavailable(response)
            }
            status if status.is_server_error() => self.unavailable(response),
            _ if told.is_empty() => ModelError::Refused(format!("the provider answered {status}")),
            _ => ModelError::Refused(format!("the provider answered {status}: {told}")),
        }
    }

    fn unavailable(&self, response: &OutboundResponse) -> ModelError {
        ModelError::Unavailable {
            why: format!("the provider answered {}", response.status),
            retry_after: retry_after(&response.headers),
        }
    }
}

impl From<OutboundError> for ModelError {
    fn from(error: OutboundError) -> Self {
        let text = error.to_string();
        match error {
            OutboundError::Refused(_) | OutboundError::TooLarge => Self::Refused(text),
            OutboundError::TimedOut | OutboundError::Unavailable(_) | OutboundError::Failed(_) => {
                Self::Unavailable {
                    why: text,
                    retry_after: None,
                }
            }
        }
    }
}

/// What came is not an answer of this provider: cut off on the way, or some proxy's page.
pub(crate) fn unreadable() -> ModelError {
    ModelError::Unavailable {
        why: "the provider's reply cannot be read".to_owned(),
        retry_after: None,
    }
}

/// How long the provider wants to be left alone: a number of seconds, or a moment, which counts from the reply's own date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.trim().parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let wanted = text("retry-after")?.trim();
    if let Ok(seconds) = wanted.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let moment = |text| DateTime::parse_from_rfc2822(text).ok();
    let (until, now) = (moment(wanted)?, moment(text("date")?)?);
    Some((until - now).to_std().unwrap_or_default())
}

/// What a tool came to, as providers take it: a text.
pub(crate) fn outcome_text(outcome: &ToolOutcome) -> String {
    match outcome {
        ToolOutcome::Ok(Value::String(text)) => text.clone(),
        ToolOutcome::Ok(value) => value.to_string(),
        ToolOutcome::Error(error) => format!("Error: {error}"),
    }
}

/// A count within a provider's `usage`; 0 when it says nothing.
pub(crate) fn count(usage: &Value, name: &str) -> u64 {
    usage[name].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_moment() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            retry_after(&pairs.collect())
        };
        let date = ("date", "Sun, 22 Nov 2026 18:00:00 GMT");
        for (headers, expected) in [
            (&[("retry-after", "7")][..], Some(Duration::from_secs(7))),
            (&[("retry-after", "0.5")], Some(Duration::from_millis(500))),
            (
                &[("retry-after", "7"), ("retry-after-ms", "250")],
                Some(Duration::from_millis(250)),
            ),
            (
                &[("retry-after", "Sun, 22 Nov 2026 18:00:20 GMT"), date],
                Some(Duration::from_secs(20)),
            ),
            (
                &[("retry-after", "Sun, 22 Nov 2026 17:00:00 GMT"), date],
                Some(Duration::ZERO),
            ),
            (&[("retry-after", "Sun, 22 Nov 2026 18:00:20 GMT")], None),
            (&[("retry-after", "-3")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            assert_eq!(read(headers), expected, "{headers:?}");
        }
    }
}
