//! Models that are asked with a key over plain HTTP: one request through the guarded client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use domain::credential::ProviderSecret;
use domain::model::{ModelName, Provider};
use domain::payload;
use futures::{StreamExt, stream::once};
use outbound::{
    MAX_REPLY, OutboundClient, OutboundError, OutboundRequest, OutboundResponse, OutboundStream,
    StreamLimits,
};
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use crate::failure::{of_status, unreadable};
use crate::redact::{RedactingSink, hide_in_answer, hide_in_error, hide_in_value};
use crate::structure::{in_words, without_frame};
use crate::unsupported::{Member, Unsupported, refused};
use crate::{ModelError, ModelRequest, ModelResponse, anthropic, openai, prices, stream};

/// The limits of answers in pieces. Each piece is far larger than the word in it; the answer itself has the limit of any
/// other reply. A model that thinks says so from time to time.
pub(crate) const LIMITS: StreamLimits = StreamLimits {
    bytes: 16 * 1024 * 1024,
    idle: Duration::from_secs(30),
};

/// The protocol of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's, which many others understand.
    ChatCompletions,
    /// Anthropic's.
    Messages,
}

/// A model behind a provider's API, with the key to it.
#[derive(Clone, Debug)]
pub struct HttpModel {
    name: ModelName,
    api: Api,
    /// The provider's word for the model.
    model: String,
    base_url: Option<String>,
    secret: ProviderSecret,
    outbound: OutboundClient,
    without: Arc<Mutex<Without>>,
}

/// The members that the service does not take.
#[derive(Clone, Debug, Default)]
struct Without {
    members: Unsupported,
    /// Those that were not known before.
    learned: Vec<Member>,
}

impl HttpModel {
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
            without: Arc::default(),
        }
    }

    /// The same model, whose service is known to refuse these members: they are not sent.
    #[must_use]
    pub fn without(self, members: Unsupported) -> Self {
        let learned = Vec::new();
        let without = Arc::new(Mutex::new(Without { members, learned }));
        Self { without, ..self }
    }

    /// The members that the service turned out to refuse since this was made, to be remembered for this key and model.
    pub fn learned(&self) -> Vec<Member> {
        self.lock().learned.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Without> {
        self.without.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn answer(
        &self,
        request: &ModelRequest,
        timeout: Duration,
        on_text: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ModelResponse, ModelError> {
        let (reply, is_in_words) = self.ask(request, timeout).await?;
        let mut sink = RedactingSink::new(Some(&self.secret), on_text);
        let hidden = |error| hide_in_error(error, &self.secret);
        let body = if is_in_words {
            // A code fence is taken off the whole answer, and text that was told cannot be taken back.
            let unheard = &mut |_: &str| {};
            let mut unheard = RedactingSink::new(Some(&self.secret), unheard);
            self.read(reply, &mut unheard).await
        } else {
            self.read(reply, &mut sink).await
        };
        let body = body.map_err(hidden)?;
        if body.to_string().len() > MAX_REPLY {
            return Err(OutboundError::TooLarge(MAX_REPLY).into());
        }
        let mut answer = match self.api {
            Api::ChatCompletions => openai::answer(&self.name, body),
            Api::Messages => anthropic::answer(&self.name, body),
        }
        .map_err(hidden)?;
        if is_in_words {
            answer.text = without_frame(&answer.text).to_owned();
        }
        if !sink.has_begun() {
            sink.say(&answer.text)?;
        }
        sink.end();
        hide_in_answer(&mut answer, Some(&self.secret));
        answer.cost_micros = prices::cost_micros(&self.name, answer.usage);
        Ok(answer)
    }

    /// The head of a reply that is an answer, and whether its form was asked for in words. What the service refuses is left out of
    /// the next request, each member once.
    async fn ask(
        &self,
        request: &ModelRequest,
        timeout: Duration,
    ) -> Result<(OutboundStream, bool), ModelError> {
        let until = Instant::now() + timeout;
        let (format, tools) = (&request.output_schema, &request.tools);
        loop {
            let without = self.lock().members.clone();
            let is_in_words = format.is_some() && without.has_format(!tools.is_empty());
            let body = if is_in_words {
                self.body(&in_words(request), &without)
            } else {
                self.body(request, &without)
            };
            let rest = until.saturating_duration_since(Instant::now());
            let outgoing = self.outgoing(&body, rest)?;
            let reply = self.outbound.open(outgoing, LIMITS).await?;
            if reply.status.is_success() {
                return Ok((reply, is_in_words));
            }
            let reply = reply.collect(MAX_REPLY).await?;
            if !refused(&reply, &body).is_some_and(|member| self.learn(member)) {
                return Err(self.failure(&reply));
            }
        }
    }

    fn body(&self, request: &ModelRequest, without: &Unsupported) -> Value {
        match self.api {
            Api::ChatCompletions => {
                openai::body(&self.model, request, self.base_url.is_none(), without)
            }
            Api::Messages => anthropic::body(&self.model, request),
        }
    }

    /// `false` where a request can do nothing about it.
    fn learn(&self, member: Member) -> bool {
        // Anthropic's API cannot do without the others.
        if self.api == Api::Messages && !member.is_format() {
            return false;
        }
        let mut without = self.lock();
        let is_new = without.members.insert(member);
        if is_new {
            without.learned.push(member);
        }
        is_new
    }

    /// The body of a reply, whole. Some services answer at once in spite of what they were asked, and some in pieces, and not
    /// every one of them says which in its content type: what comes first does.
    async fn read(
        &self,
        mut reply: OutboundStream,
        sink: &mut RedactingSink<'_>,
    ) -> Result<Value, ModelError> {
        let mut begun = BytesMut::new();
        let is_json = loop {
            let Some(chunk) = reply.chunk().await? else {
                break false;
            };
            begun.extend_from_slice(&chunk);
            // Blank lines keep a connection open.
            if let Some(first) = begun.iter().find(|byte| !byte.is_ascii_whitespace()) {
                break *first == b'{';
            }
        };
        if is_json {
            let rest = reply.collect(MAX_REPLY).await?;
            begun.extend_from_slice(&rest.body);
            if begun.len() > MAX_REPLY {
                return Err(OutboundError::TooLarge(MAX_REPLY).into());
            }
            return payload::read(&begun).map_err(|_| unreadable());
        }
        let chunks = once(async move { Ok(begun.freeze()) }).chain(reply.chunks());
        match self.api {
            Api::ChatCompletions => {
                stream::read(chunks, openai::StreamAccumulator::default(), sink).await
            }
            Api::Messages => {
                stream::read(chunks, anthropic::StreamAccumulator::default(), sink).await
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
        of_status(reply.status, error_in(&body), &reply.headers)
    }
}

/// The error in a reply's body: most have it in `error`, Gemini in the one item of a list, some have nothing around it.
fn error_in(body: &Value) -> &Value {
    let body = body.get(0).unwrap_or(body);
    match &body["error"] {
        Value::Null if body["message"].is_null() => &body["detail"],
        Value::Null => body,
        error => error,
    }
}
