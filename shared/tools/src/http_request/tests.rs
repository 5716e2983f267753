use axum::Router;
use axum::extract::{RawQuery, Request};
use axum::http::StatusCode;
use axum::routing::{any, get};
use rand::{Rng, RngExt};

use super::reply::MAX_BODY;
use super::*;
use outbound::testing::FakeServer;

use crate::testing::{catalog, resolve_all};
use crate::{ToolPermissions, ToolSettings, call};

fn nowhere() -> ToolSettings {
    ToolSettings {
        outbound: OutboundClient::new(true),
        geocoding_url: String::new(),
        forecast_url: String::new(),
    }
}

async fn request(arguments: Value, allowed_hosts: &[&str]) -> Result<Value, ToolError> {
    let permissions = ToolPermissions {
        tools: vec!["http_request".to_owned()],
        hosts: allowed_hosts.iter().map(ToString::to_string).collect(),
        agents: Vec::new(),
    };
    let invocation = ToolInvocation {
        tool: "http_request",
        arguments: &arguments,
        permissions: &permissions,
        run: None,
        idempotency_key: "run-7/call_1",
    };
    call(&resolve_all(&catalog(nowhere())).await, &invocation).await
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
    let server = FakeServer::start(Router::new().route("/echo", any(echo))).await;
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
    let server = FakeServer::start(Router::new().route("/", get(slow))).await;
    let arguments = json!({ "url": server.url(), "timeout_seconds": 1 });
    assert_eq!(
        request(arguments, &["127.0.0.1"]).await,
        Err(ToolError::Unanswered(
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
    let tools = resolve_all(&catalog(nowhere())).await;
    let mut valid = 0;
    for _ in 0..20_000 {
        let mut arguments = anything(&mut rng, 3);
        if let Value::Object(fields) = &mut arguments {
            fields.entry("url").or_insert(json!("https://a.example/"));
        }
        valid += usize::from(tools.validate("http_request", &arguments).is_ok());
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
    let server = FakeServer::start(router).await;
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
        Err(ToolError::Unusable(error))
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
