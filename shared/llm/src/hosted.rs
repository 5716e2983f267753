//! What the models have in common that are asked with a key over plain HTTP: one request through the guarded client.

use std::time::{Duration, Instant};

use domain::credential::ProviderSecret;
use domain::model::{ModelName, Provider};
use domain::payload;
use domain::run::ToolOutcome;
use outbound::{
    MAX_REPLY, OutboundClient, OutboundError, OutboundRequest, OutboundResponse, OutboundStream,
    StreamLimits,
};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use crate::failure::{of_status, unreadable};
use crate::secrecy::{Telling, hide_in_answer, hide_in_error, hide_in_value};
use crate::{ModelAnswer, ModelError, ModelRequest, anthropic, openai, prices, stream};

/// What a model is told when there is nothing to tell it: providers refuse empty messages.
pub(crate) const NO_INPUT: &str = "(There is no input.)";
/// What answers in pieces must keep to. Each piece is far larger than the word in it; the answer itself has the limit of any
/// other reply. A model that thinks says so from time to time.
pub(crate) const LIMITS: StreamLimits = StreamLimits {
    bytes: 16 * 1024 * 1024,
    idle: Duration::from_secs(30),
};

/// What is spoken with a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's, which many others understand.
    ChatCompletions,
    /// Anthropic's.
    Messages,
}

/// A model behind a provider's API, with the key to it.
#[derive(Clone, Debug)]
pub struct Hosted {
    name: ModelName,
    api: Api,
    /// The provider's word for the model.
    model: String,
    base_url: Option<String>,
    secret: ProviderSecret,
    outbound: OutboundClient,
}

impl Hosted {
    /// The model that a provider calls `model`, at the provider's own address or at `base_url`.
    pub fn new(
        api: Api,
        model: String,
        base_url: Option<String>,
        secret: ProviderSecret,
        outbound: OutboundClient,
    ) -> Self {
        let provider = match api {
            Api::ChatCompletions => Provider::OpenAi,
            Api::Messages => Provider::Anthropic,
        };
        Self {
            name: ModelName::Hosted {
                provider,
                model: model.clone(),
            },
            api,
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
        let reply = self.ask(request, timeout).await?;
        let mut telling = Telling::new(Some(&self.secret), on_text);
        let hidden = |error| hide_in_error(error, &self.secret);
        let body = self.read(reply, &mut telling).await.map_err(hidden)?;
        if body.to_string().len() > MAX_REPLY {
            return Err(OutboundError::TooLarge(MAX_REPLY).into());
        }
        let mut answer = match self.api {
            Api::ChatCompletions => openai::answer(&self.name, body),
            Api::Messages => anthropic::answer(&self.name, body),
        }
        .map_err(hidden)?;
        if !telling.has_begun() {
            telling.say(&answer.text)?;
        }
        telling.end();
        hide_in_answer(&mut answer, Some(&self.secret));
        answer.cost_micros = prices::cost_micros(&self.name, answer.usage);
        Ok(answer)
    }

    /// The head of a reply that is an answer.
    async fn ask(
        &self,
        request: &ModelRequest,
        timeout: Duration,
    ) -> Result<OutboundStream, ModelError> {
        let until = Instant::now() + timeout;
        let mut body = match self.api {
            Api::ChatCompletions => openai::body(&self.model, request, self.base_url.is_none()),
            Api::Messages => anthropic::body(&self.model, request),
        };
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            let outgoing = self.outgoing(&body, rest)?;
            let reply = self.outbound.open(outgoing, LIMITS).await?;
            if reply.status.is_success() {
                return Ok(reply);
            }
            let reply = reply.whole(MAX_REPLY).await?;
            if !leave_out_what_it_refuses(&reply, &mut body) {
                return Err(self.failure(&reply));
            }
        }
    }

    async fn read(
        &self,
        reply: OutboundStream,
        telling: &mut Telling<'_>,
    ) -> Result<Value, ModelError> {
        // Some services answer at once in spite of what they were asked.
        if is_json(&reply.headers) {
            let reply = reply.whole(MAX_REPLY).await?;
            return payload::read(&reply.body).map_err(|_| unreadable());
        }
        match self.api {
            Api::ChatCompletions => {
                stream::read(reply.chunks(), openai::Pieces::default(), telling).await
            }
            Api::Messages => {
                stream::read(reply.chunks(), anthropic::Pieces::default(), telling).await
            }
        }
    }

    fn outgoing(&self, body: &Value, timeout: Duration) -> Result<OutboundRequest, ModelError> {
        let refused = |why: &str| ModelError::Refused(why.to_owned());
        let (own_address, path) = match self.api {
            Api::ChatCompletions => (openai::BASE_URL, openai::PATH),
            Api::Messages => (anthropic::BASE_URL, anthropic::PATH),
        };
        let base = self.base_url.as_deref().unwrap_or(own_address);
        let url = Url::parse(&format!("{base}{path}"));
        let url = url.map_err(|_| refused("the credential's base URL is not a URL"))?;
        let key = self.secret.expose();
        let (name, value) = match self.api {
            Api::ChatCompletions => (header::AUTHORIZATION, format!("Bearer {key}")),
            Api::Messages => (HeaderName::from_static("x-api-key"), key.to_owned()),
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| refused("the key cannot be sent in a header"))?;
        value.set_sensitive(true);
        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::from_iter([(name, value), (header::CONTENT_TYPE, json)]);
        if self.api == Api::Messages {
            headers.insert("anthropic-version", anthropic::VERSION);
        }
        Ok(OutboundRequest {
            headers,
            body: Some(body.to_string().into()),
            timeout,
            ..OutboundRequest::new(Method::POST, url)
        })
    }

    fn failure(&self, reply: &OutboundResponse) -> ModelError {
        let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        // What JSON escapes is plain only now, and cut to size only after this.
        hide_in_value(&mut body, self.secret.expose());
        of_status(reply.status, &body["error"], &reply.headers)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json"))
}

/// Takes the one member out of a body that services exist which do not know it, if this is what is refused.
fn leave_out_what_it_refuses(reply: &OutboundResponse, body: &mut Value) -> bool {
    let refuses = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];
    let name = openai::STREAM_OPTIONS;
    refuses.contains(&reply.status)
        && String::from_utf8_lossy(&reply.body).contains(name)
        && body
            .as_object_mut()
            .is_some_and(|body| body.remove(name).is_some())
}

/// The most tokens that are believed of one answer, so that nobody's sums overflow.
const MAX_COUNT: u64 = 1_000_000_000;

/// What a tool came to, as providers take it: a text.
pub(crate) fn outcome_text(outcome: &ToolOutcome) -> String {
    match outcome {
        ToolOutcome::Ok(Value::String(text)) => text.clone(),
        ToolOutcome::Ok(value) => value.to_string(),
        ToolOutcome::Error(error) => format!("Error: {error}"),
    }
}

/// A count within a provider's `usage`; 0 when it says nothing. No answer has as many tokens as the limit.
pub(crate) fn count(usage: &Value, name: &str) -> u64 {
    usage[name].as_u64().unwrap_or(0).min(MAX_COUNT)
}
