//! `http_request`: one HTTP request to a host that the agent's owner has allowed.

use std::time::Duration;

use bytes::Bytes;
use llm::ToolSpec;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::form_urlencoded::Serializer;
use url::{Host, Url};

use crate::toolbox::{ToolError, ToolInvocation};
use outbound::{OutboundClient, OutboundRequest, OutboundResponse};

/// How much of a reply a model gets to see, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// How long a request may be told to take, in seconds: two of them fit into the time that a worker keeps for a call.
const MAX_TIMEOUT: u64 = 20;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What belongs to the connection or to us, not to the caller.
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

/// What of a reply's headers a model gets to see.
const SHOWN: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
];

pub(crate) fn spec() -> ToolSpec {
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

/// PUT and DELETE are idempotent by HTTP's definition and not on every server that people write: only reading
/// is repeated.
pub(crate) fn is_idempotent(arguments: &Value) -> bool {
    arguments
        .get("method")
        .is_none_or(|method| method == "GET" || method == "HEAD")
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
        // Of a body that is there, the length says nothing new.
        let is_said = *name == header::CONTENT_LENGTH && !response.body.is_empty();
        if let Some(value) = response.headers.get(name).filter(|_| !is_said) {
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
    let size = response.body.len();
    if response.status.is_redirection() && headers.contains_key("location") {
        result["note"] =
            json!("redirects are not followed; the location header says where it went");
    }
    if is_json
        && size <= MAX_BODY
        && let Ok(body) = serde_json::from_slice::<Value>(&response.body)
    {
        result["body"] = body;
    } else if let Some(what) = unreadable(essence, &response) {
        result["body"] = Value::Null;
        result["note"] = json!(format!(
            "the body is {what} and is not shown ({size} bytes)"
        ));
    } else {
        let mut text = decode(response).await;
        if text.len() > MAX_BODY {
            text.truncate(text.floor_char_boundary(MAX_BODY));
            result["truncated"] = json!(true);
            result["size"] = json!(size);
        }
        result["body"] = json!(text);
    }
    result
}

/// What a body is that no model can read.
fn unreadable(essence: &str, response: &OutboundResponse) -> Option<String> {
    // What is sent as application/octet-stream may be text all the same.
    const BINARY: [&str; 5] = [
        "application/gzip",
        "application/pdf",
        "application/wasm",
        "application/x-tar",
        "application/zip",
    ];
    let is_media = ["audio/", "font/", "image/", "video/"]
        .iter()
        .any(|kind| essence.starts_with(kind))
        && essence != "image/svg+xml";
    let is_encoded = response.headers.get(header::CONTENT_ENCODING);
    let is_encoded = is_encoded.is_some_and(|encoding| encoding != "identity");
    if response.body.is_empty() {
        None
    } else if is_encoded {
        Some("compressed".to_owned())
    } else if is_media || BINARY.contains(&essence) {
        Some(format!("not text but {essence}"))
    } else if response.body.contains(&0) {
        Some("not text".to_owned())
    } else {
        None
    }
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
    use rand::{Rng, RngExt};

    use super::*;
    use crate::toolbox::{ToolSettings, Toolbox};
    use crate::wire::Server;

    fn nowhere() -> ToolSettings {
        ToolSettings {
            allow_loopback: true,
            geocoding_url: String::new(),
            forecast_url: String::new(),
        }
    }

    async fn request(arguments: Value, allowed_hosts: &[&str]) -> Result<Value, ToolError> {
        Toolbox::new(nowhere())
            .call(ToolInvocation {
                tool: "http_request",
                arguments: &arguments,
                allowed_tools: &["http_request".to_owned()],
                allowed_hosts: &allowed_hosts
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
                allowed_agents: &[],
                run: None,
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
        let arguments = json!({
            "method": "PATCH", "url": format!("{}/echo", server.url()), "query": { "tag": ["a", 1] },
            "form": { "name": "A & B", "agreed": true, "to": ["x", "y"] },
        });
        let sent = request(arguments, &["127.0.0.1"]).await.unwrap()["body"].clone();
        assert_eq!(
            (&sent["query"], &sent["body"], &sent["type"]),
            (
                &json!("tag=a&tag=1"),
                &json!("agreed=true&name=A+%26+B&to=x&to=y"),
                &json!("application/x-www-form-urlencoded")
            )
        );
    }

    #[tokio::test]
    async fn a_request_takes_no_longer_than_it_was_given() {
        let slow = || async { tokio::time::sleep(Duration::from_secs(5)).await };
        let server = Server::start(Router::new().route("/", get(slow))).await;
        let arguments = json!({ "url": server.url(), "timeout_seconds": 1 });
        assert_eq!(
            request(arguments, &["127.0.0.1"]).await,
            Err(ToolError::Unavailable(
                "no complete reply in time".to_owned()
            ))
        );
    }

    /// A value of any shape, with a liking for what the tool looks at.
    fn anything(rng: &mut impl Rng, depth: u32) -> Value {
        const TEXTS: [&str; 16] = [
            "",
            "GET",
            "post",
            "HEAD",
            "https://a.example/é?x=%zz#y",
            "https://[::1",
            "data:,x",
            "//",
            "http://0",
            "\r\nHost: x",
            "content-length",
            "x-é",
            "\u{0}",
            "\u{fffd}𝕏",
            "application/json",
            " ",
        ];
        const NAMES: [&str; 10] = [
            "method",
            "url",
            "headers",
            "query",
            "body",
            "form",
            "timeout_seconds",
            "Host",
            "",
            "é\n",
        ];
        match rng.random_range(0..if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(rng.random::<bool>()),
            2 => json!(rng.random::<i64>()),
            3 => json!(rng.random::<f64>() * 1e300),
            4 | 5 => json!(TEXTS[rng.random_range(0..TEXTS.len())]),
            6 => (0..rng.random_range(0..4))
                .map(|_| anything(rng, depth - 1))
                .collect(),
            _ => {
                let fields = (0..rng.random_range(0..6)).map(|_| {
                    let name = NAMES[rng.random_range(0..NAMES.len())];
                    (name.to_owned(), anything(rng, depth - 1))
                });
                Value::Object(fields.collect())
            }
        }
    }

    #[tokio::test]
    async fn no_arguments_make_it_panic() {
        let mut rng = rand::rng();
        let mut valid = 0;
        for _ in 0..20_000 {
            let mut arguments = anything(&mut rng, 3);
            if let Value::Object(fields) = &mut arguments {
                fields.entry("url").or_insert(json!("https://a.example/"));
            }
            valid += usize::from(
                Toolbox::new(nowhere())
                    .validate("http_request", &arguments)
                    .is_ok(),
            );
            // No host is allowed, so nothing is sent.
            request(arguments.clone(), &[]).await.unwrap_err();
            // What the schema refuses is not met in a run; still.
            if let Ok(arguments) = Arguments::deserialize(&arguments) {
                drop(arguments.into_request("key"));
            }
        }
        assert!(valid > 100, "{valid}");
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
            .route(
                "/huge",
                get(|| async { "x".repeat(outbound::MAX_REPLY + 1) }),
            )
            .route(
                "/moved",
                get(|| async { (StatusCode::FOUND, [("location", "/long")]) }),
            )
            .route(
                "/picture",
                get(|| async { ([("content-type", "image/png")], "P") }),
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
        assert_eq!(
            (&long["truncated"], &long["size"]),
            (&json!(true), &json!(131_072))
        );
        assert_eq!(fetch("/latin").await["body"], "café");
        assert_eq!(
            fetch("/binary").await["note"],
            "the body is not text and is not shown (3 bytes)"
        );
        assert_eq!(
            fetch("/picture").await["note"],
            "the body is not text but image/png and is not shown (1 bytes)"
        );
        let moved = fetch("/moved").await;
        assert_eq!(
            (&moved["status"], &moved["headers"]["location"]),
            (&json!(302), &json!("/long"))
        );
        assert!(
            moved["note"]
                .as_str()
                .unwrap()
                .starts_with("redirects are not followed")
        );
        let head = json!({ "method": "HEAD", "url": format!("{}/long", server.url()) });
        let head = request(head, &[&server.authority]).await.unwrap();
        assert_eq!(
            (&head["headers"]["content-length"], &head["body"]),
            (&json!("131072"), &json!(""))
        );
        let huge = json!({ "url": format!("{}/huge", server.url()) });
        let error = "the reply is larger than 1048576 bytes".to_owned();
        assert_eq!(
            request(huge, &[&server.authority]).await,
            Err(ToolError::Failed(error))
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
                "two bodies",
                json!({ "url": "https://x.test", "body": 1, "form": {} }),
                "form: cannot be sent together with a body",
            ),
            (
                "an object in a query",
                json!({ "url": "https://x.test", "query": { "a": {} } }),
                "query.a: ",
            ),
            (
                "too much patience",
                json!({ "url": "https://x.test", "timeout_seconds": 21 }),
                "timeout_seconds: ",
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
