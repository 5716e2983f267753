//! `http_request`: one HTTP request to a host that the agent's owner has allowed.

use bytes::Bytes;
use llm::ToolSpec;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::{Host, Url};

use crate::toolbox::{ToolError, ToolInvocation};
use outbound::{OutboundClient, OutboundRequest, OutboundResponse};

/// How much of a reply a model gets to see, in bytes.
const MAX_BODY: usize = 64 * 1024;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What belongs to the connection or to us, not to the caller.
const RESERVED: [&str; 13] = [
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

/// What of a reply's headers a model gets to see.
const SHOWN: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
];

pub(crate) fn spec() -> ToolSpec {
    ToolSpec {
        name: "http_request".to_owned(),
        description: "Sends an HTTP request to a host that the agent may reach. A reply of any status is a result; \
                      redirects are not followed."
            .to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "method": { "type": "string", "enum": ["GET", "POST", "PUT", "PATCH", "DELETE"], "default": "GET" },
                "url": { "type": "string", "minLength": 1, "maxLength": 2048 },
                "headers": { "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 50 },
                "query": {
                    "type": "object",
                    "additionalProperties": { "type": ["string", "number", "boolean"] },
                    "description": "Appended to the URL's own query."
                },
                "body": { "description": "A text is sent as it is, anything else as JSON." }
            },
            "required": ["url"],
            "additionalProperties": false
        }),
        idempotent: false,
    }
}

/// PUT and DELETE are idempotent by HTTP's definition and not on every server that people write: only reading
/// is repeated.
pub(crate) fn is_idempotent(arguments: &Value) -> bool {
    arguments.get("method").is_none_or(|method| method == "GET")
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
}

pub(crate) async fn call(
    outbound: &OutboundClient,
    call: &ToolInvocation<'_>,
) -> Result<Value, ToolError> {
    let arguments = Arguments::deserialize(call.arguments).map_err(invalid)?;
    let request = arguments
        .into_request(call.idempotency_key)
        .map_err(ToolError::InvalidArguments)?;
    if !call
        .allowed_hosts
        .iter()
        .any(|allowed| is_allowed(allowed, &request.url))
    {
        let host = request.url.host_str().unwrap_or_default();
        return Err(ToolError::NotAllowed(format!(
            "this agent may not reach {host}: it is not among its allowed hosts"
        )));
    }
    Ok(result(outbound.send(request).await?).await)
}

impl Arguments {
    fn into_request(self, idempotency_key: &str) -> Result<OutboundRequest, String> {
        let method = self
            .method
            .as_deref()
            .unwrap_or("GET")
            .parse::<Method>()
            .map_err(|error| error.to_string())?;
        let mut url = Url::parse(&self.url).map_err(|error| format!("url: {error}"))?;
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(
                self.query
                    .iter()
                    .map(|(name, value)| (name, text_of(value))),
            );
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
        let body = self.body.filter(|body| !body.is_null()).map(|body| {
            let kind = if body.is_string() {
                "text/plain; charset=utf-8"
            } else {
                "application/json"
            };
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static(kind));
            Bytes::from(text_of(&body))
        });
        Ok(OutboundRequest {
            headers,
            body,
            ..OutboundRequest::new(method, url)
        })
    }
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

/// Whether an entry of an allow-list covers a URL. Without a port it covers all ports.
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

async fn result(response: OutboundResponse) -> Value {
    let mut headers = Map::new();
    for name in &SHOWN {
        if let Some(value) = response.headers.get(name) {
            headers.insert(
                name.to_string(),
                json!(String::from_utf8_lossy(value.as_bytes())),
            );
        }
    }
    let mut result = json!({ "status": response.status.as_u16(), "headers": headers });
    let kind = headers
        .get("content-type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let is_json = essence == "application/json" || essence.ends_with("+json");
    if is_json
        && response.body.len() <= MAX_BODY
        && let Ok(body) = serde_json::from_slice::<Value>(&response.body)
    {
        result["body"] = body;
    } else if response.body.contains(&0) {
        result["body"] = Value::Null;
        result["note"] = json!(format!(
            "the body is not text ({} bytes)",
            response.body.len()
        ));
    } else {
        let mut text = decode(response).await;
        if text.len() > MAX_BODY {
            text.truncate(text.floor_char_boundary(MAX_BODY));
            result["truncated"] = json!(true);
        }
        result["body"] = json!(text);
    }
    result
}

/// The body as text, by the character set that its content type names.
async fn decode(response: OutboundResponse) -> String {
    let mut reply = http::Response::new(response.body);
    *reply.headers_mut() = response.headers;
    Response::from(reply).text().await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::{RawQuery, Request};
    use axum::http::StatusCode;
    use axum::routing::{any, get};

    use super::*;
    use crate::toolbox::{ToolSettings, Toolbox};
    use crate::wire::Server;

    async fn request(arguments: Value, allowed_hosts: &[&str]) -> Result<Value, ToolError> {
        let toolbox = Toolbox::new(ToolSettings {
            allow_loopback: true,
            geocoding_url: String::new(),
            forecast_url: String::new(),
        });
        toolbox
            .call(ToolInvocation {
                tool: "http_request",
                arguments: &arguments,
                allowed_tools: &["http_request".to_owned()],
                allowed_hosts: &allowed_hosts
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
                idempotency_key: "run-7/call_1",
            })
            .await
    }

    /// Answers with what it was sent.
    async fn echo(RawQuery(query): RawQuery, request: Request) -> (StatusCode, axum::Json<Value>) {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap());
        let seen = json!({
            "method": parts.method.as_str(), "query": query, "body": String::from_utf8(body.to_vec()).unwrap(),
            "key": header("idempotency-key"), "type": header("content-type"), "token": header("x-token"),
        });
        (StatusCode::CONFLICT, axum::Json(seen))
    }

    #[tokio::test]
    async fn a_request_is_sent_as_described_and_any_status_is_a_result() {
        let server = Server::start(Router::new().route("/echo", any(echo))).await;
        let arguments = json!({
            "method": "POST", "url": format!("{}/echo?a=1", server.url()), "query": { "b": "x y", "c": 2 },
            "headers": { "X-Token": "t" }, "body": { "n": 1 },
        });
        assert_eq!(
            request(arguments, &["127.0.0.1"]).await.unwrap(),
            json!({
                "status": 409,
                "headers": { "content-type": "application/json" },
                "body": { "method": "POST", "query": "a=1&b=x+y&c=2", "body": "{\"n\":1}", "key": "run-7/call_1",
                          "type": "application/json", "token": "t" },
            })
        );
    }

    #[tokio::test]
    async fn a_reply_is_shown_as_far_as_a_model_can_read_it() {
        let router = Router::new()
            .route("/long", get(|| async { "é".repeat(MAX_BODY) }))
            .route(
                "/latin",
                get(|| async {
                    (
                        [("content-type", "text/plain; charset=iso-8859-1")],
                        b"caf\xe9".to_vec(),
                    )
                }),
            )
            .route("/binary", get(|| async { b"\x00\x01\x02".to_vec() }))
            .route(
                "/broken",
                get(|| async { ([("content-type", "application/json")], "{") }),
            );
        let server = Server::start(router).await;
        let fetch = async |path: &str| {
            request(
                json!({ "url": format!("{}{path}", server.url()) }),
                &[&server.authority],
            )
            .await
            .unwrap()
        };
        let long = fetch("/long").await;
        assert_eq!(long["body"].as_str().unwrap().len(), MAX_BODY);
        assert_eq!(long["truncated"], true);
        assert_eq!(fetch("/latin").await["body"], "café");
        assert_eq!(
            fetch("/binary").await["note"],
            "the body is not text (3 bytes)"
        );
        assert_eq!(fetch("/broken").await["body"], "{");
    }

    #[tokio::test]
    async fn what_is_not_allowed_is_not_sent() {
        let to = |url: &str| json!({ "url": url });
        for (description, arguments, allowed_hosts, expected) in [
            (
                "no host is allowed",
                to("https://example.com/"),
                &[][..],
                "not among its allowed hosts",
            ),
            (
                "another host",
                to("https://example.com.evil.test/"),
                &["example.com"],
                "not among its allowed hosts",
            ),
            (
                "allowed, and private",
                to("https://10.0.0.1/"),
                &["10.0.0.1"],
                "not a public address",
            ),
            (
                "allowed, and not TLS",
                to("http://example.com/"),
                &["example.com"],
                "must begin with https://",
            ),
        ] {
            match request(arguments, allowed_hosts).await {
                Err(ToolError::NotAllowed(message)) => {
                    assert!(message.contains(expected), "{description}: {message}")
                }
                other => panic!("{description}: {other:?}"),
            }
        }
        for (description, arguments, expected) in [
            (
                "not a URL",
                to("example.com"),
                "url: relative URL without a base",
            ),
            (
                "our header",
                json!({ "url": "https://x.test", "headers": { "Host": "y" } }),
                "headers: Host cannot be set",
            ),
            (
                "a header with a line break",
                json!({ "url": "https://x.test", "headers": { "A": "b\r\nC: d" } }),
                "headers: the value of A",
            ),
            (
                "not a method",
                json!({ "url": "https://x.test", "method": "TRACE" }),
                "method: value is not one of",
            ),
            (
                "a header that is no text",
                json!({ "url": "https://x.test", "headers": { "A": 1 } }),
                "headers.A: value is not of type \"string\"",
            ),
        ] {
            match request(arguments, &["x.test"]).await {
                Err(ToolError::InvalidArguments(message)) => {
                    assert!(message.starts_with(expected), "{description}: {message}")
                }
                other => panic!("{description}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_allow_list_names_hosts() {
        for (entry, url, expected) in [
            ("example.com", "https://example.com/", true),
            ("Example.com", "https://EXAMPLE.com./", true),
            ("example.com", "https://example.com:8443/", true),
            ("example.com", "https://api.example.com/", false),
            ("example.com:443", "https://example.com/", true),
            ("example.com:8443", "https://example.com/", false),
            ("*.example.com", "https://a.b.example.com/", true),
            ("*.example.com", "https://example.com/", false),
            ("*.example.com", "https://badexample.com/", false),
            ("*.example.com:8443", "https://a.example.com:8443/", true),
            ("*.0.0.1", "https://127.0.0.1/", false),
            ("[::1]:8080", "http://[::1]:8080/", true),
            ("[::1]", "http://[::1]:8080/", true),
            ("*", "https://example.com/", false),
            ("", "https://example.com/", false),
        ] {
            assert_eq!(
                is_allowed(entry, &Url::parse(url).unwrap()),
                expected,
                "{entry} and {url}"
            );
        }
    }
}
