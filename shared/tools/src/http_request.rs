//! `http_request`: one HTTP request to a host that the agent's owner has allowed.

mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use llm::ToolSpec;
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::form_urlencoded::Serializer;
use url::{Host, Url};

use crate::tool::{Tool, ToolError, ToolInvocation};
use outbound::{OutboundClient, OutboundRequest};

/// The longest time that a request may be told to take, in seconds: two of them fit into the time that a worker keeps for a call.
const MAX_TIMEOUT: u64 = 20;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Headers that belong to the connection or to us, not to the caller.
const RESERVED: [&str; 14] = [
    // What comes compressed would not be read.
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(crate) struct HttpRequest {
    spec: ToolSpec,
    outbound: OutboundClient,
}

impl HttpRequest {
    pub(crate) fn new(outbound: OutboundClient) -> Self {
        Self {
            spec: spec(),
            outbound,
        }
    }
}

impl Tool for HttpRequest {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// PUT and DELETE are idempotent by HTTP's definition and not on every server that people write: only reading is repeated.
    fn is_idempotent(&self, arguments: &Value) -> bool {
        arguments
            .get("method")
            .is_none_or(|method| method == "GET" || method == "HEAD")
    }

    fn call<'a>(&'a self, call: &'a ToolInvocation<'a>) -> BoxFuture<'a, Result<Value, ToolError>> {
        Box::pin(send(&self.outbound, call))
    }
}

fn spec() -> ToolSpec {
    ToolSpec {
        name: "http_request".to_owned(),
        description: "Sends an HTTP request to a host that the agent may reach. A reply of any status is a result; \
                      redirects are not followed. Of a long reply the beginning is shown, at most 64 KiB."
            .to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "method": {
                    "type": "string",
                    "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
                    "default": "GET"
                },
                "url": { "type": "string", "minLength": 1, "maxLength": 2048 },
                "headers": { "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 50 },
                "query": {
                    "type": "object",
                    "additionalProperties": values(),
                    "maxProperties": 100,
                    "description": "Appended to the URL's own query; a list repeats its name."
                },
                "body": { "description": "A text is sent as it is, anything else as JSON." },
                "form": {
                    "type": "object",
                    "additionalProperties": values(),
                    "maxProperties": 100,
                    "description": "Fields of an HTML form, instead of a body."
                },
                "timeout_seconds": { "type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT, "default": 15 }
            },
            "required": ["url"],
            "additionalProperties": false
        }),
        idempotent: false,
    }
}

/// JSON Schema of what a query or form has under a name.
fn values() -> Value {
    let one = json!({ "type": ["string", "number", "boolean"] });
    json!({ "anyOf": [one, { "type": "array", "items": one, "maxItems": 100 }] })
}

#[derive(Deserialize)]
struct Arguments {
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    query: Map<String, Value>,
    body: Option<Value>,
    form: Option<Map<String, Value>>,
    timeout_seconds: Option<u64>,
}

async fn send(outbound: &OutboundClient, call: &ToolInvocation<'_>) -> Result<Value, ToolError> {
    let arguments = Arguments::deserialize(call.arguments).map_err(invalid)?;
    let request = arguments
        .into_request(call.idempotency_key)
        .map_err(ToolError::InvalidArguments)?;
    if !call
        .permissions
        .hosts
        .iter()
        .any(|allowed| is_allowed(allowed, &request.url))
    {
        let host = request.url.host_str().unwrap_or_default();
        return Err(ToolError::NotAllowed(format!(
            "this agent may not reach {host}: it is not among its allowed hosts"
        )));
    }
    Ok(reply::result(outbound.send(request).await?).await)
}

impl Arguments {
    fn into_request(self, idempotency_key: &str) -> Result<OutboundRequest, String> {
        let method = self
            .method
            .as_deref()
            .unwrap_or("GET")
            .parse::<Method>()
            .map_err(|error| error.to_string())?;
        if self.form.is_some() && self.body.as_ref().is_some_and(|body| !body.is_null()) {
            return Err("form: cannot be sent together with a body".to_owned());
        }
        let mut url = Url::parse(&self.url).map_err(|error| format!("url: {error}"))?;
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs(&self.query));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(format!("headers: {name} cannot be set"));
            }
            let header: HeaderName = name
                .parse()
                .map_err(|_| format!("headers: {name:?} is not a header name"))?;
            let value = HeaderValue::from_str(&text_of(value))
                .map_err(|_| format!("headers: the value of {name} is not allowed in a header"))?;
            headers.insert(header, value);
        }
        let key = HeaderValue::from_str(idempotency_key).map_err(|error| error.to_string())?;
        headers.insert(IDEMPOTENCY_KEY, key);
        let body = self.form.map(form).or_else(|| {
            let body = self.body.filter(|body| !body.is_null())?;
            let kind = if body.is_string() {
                "text/plain; charset=utf-8"
            } else {
                "application/json"
            };
            Some((kind, text_of(&body)))
        });
        let body = body.map(|(kind, body)| {
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static(kind));
            Bytes::from(body)
        });
        let mut request = OutboundRequest::new(method, url);
        if let Some(seconds) = self.timeout_seconds {
            request.timeout = Duration::from_secs(seconds.clamp(1, MAX_TIMEOUT));
        }
        Ok(OutboundRequest {
            headers,
            body,
            ..request
        })
    }
}

fn form(fields: Map<String, Value>) -> (&'static str, String) {
    let body = Serializer::new(String::new())
        .extend_pairs(pairs(&fields))
        .finish();
    ("application/x-www-form-urlencoded", body)
}

/// Names and values of a query or form, where a list repeats its name.
fn pairs(fields: &Map<String, Value>) -> impl Iterator<Item = (&str, String)> {
    fields.iter().flat_map(|(name, value)| {
        let values = value
            .as_array()
            .map_or(std::slice::from_ref(value), Vec::as_slice);
        values
            .iter()
            .map(move |value| (name.as_str(), text_of(value)))
    })
}

fn invalid(error: impl ToString) -> ToolError {
    ToolError::InvalidArguments(error.to_string())
}

/// A text as it is, anything else as JSON.
fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Tells whether an entry of an allow-list covers a URL. Without a port it covers all ports.
fn is_allowed(entry: &str, url: &Url) -> bool {
    let (pattern, port) = match entry.rsplit_once(':') {
        Some((pattern, port)) if !port.ends_with(']') => (pattern, Some(port)),
        _ => (entry, None),
    };
    if port.is_some_and(|port| port.parse().ok() != url.port_or_known_default()) {
        return false;
    }
    let Some(host) = url.host_str() else {
        return false;
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let pattern = pattern.to_ascii_lowercase();
    match pattern.strip_prefix('*') {
        Some(suffix) => {
            let is_name = matches!(url.host(), Some(Host::Domain(_)));
            is_name
                && suffix.starts_with('.')
                && host.len() > suffix.len()
                && host.ends_with(suffix)
        }
        None => host == pattern,
    }
}
