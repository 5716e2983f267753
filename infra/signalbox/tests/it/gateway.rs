//! Requests, from the client's side.

use std::time::Duration;

use local::{Limits, Options, Platform};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::fixture::{MAX_WAIT, next, options, start, start_error, template};

/// A text of the form of a session's credential.
pub(crate) const SESSION: &str = "a.b.c";

#[tokio::test]
async fn requests_reach_the_function_of_the_most_specific_route() {
    let (platform, _seen) = start().await;
    let client = Client::new();
    for (request, function, resource) in [
        ("GET /", "echo", "/"),
        ("GET /things", "echo", "/things"),
        ("GET /things/", "echo", "/things"),
        ("GET /things/latest", "other", "/things/latest"),
        ("PUT /things/7?a=1&a=%20x", "echo", "/things/{id}"),
        ("DELETE /things/a%2Fb%20c/", "echo", "/things/{id}"),
        ("PATCH /items/a/b/c", "echo", "/items/{proxy+}"),
    ] {
        let (method, uri) = request.split_once(' ').unwrap();
        let response = client
            .request(method.parse().unwrap(), format!("{}{uri}", platform.url()))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{request}");
        let seen: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(seen["function"], function, "{request}");
        assert_eq!(seen["method"], method, "{request}");
        assert_eq!(seen["uri"], uri, "{request}");
        assert_eq!(seen["context"]["resourcePath"], resource, "{request}");
    }
    platform.stop().await;
}

#[tokio::test]
async fn functions_get_the_request_context_of_api_gateway() {
    let (platform, _seen) = start().await;
    let request = Client::new()
        .get(format!("{}/things/7?q=1", platform.url()))
        .header("X-Forwarded-For", "203.0.113.9");
    let response = request.send().await.unwrap();
    let id = response.headers()["x-amzn-requestid"]
        .to_str()
        .unwrap()
        .to_owned();
    let seen: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let context = &seen["context"];
    assert_eq!(context["requestId"], id);
    assert_eq!(context["identity"]["sourceIp"], "127.0.0.1");
    assert_eq!(
        context["domainName"],
        format!("127.0.0.1:{}", platform.port())
    );
    assert_eq!(context["stage"], "test");
    assert_eq!(context["path"], "/test/things/7");
    assert_eq!(context["httpMethod"], "GET");
    assert!(context["requestTimeEpoch"].as_i64().unwrap() > 1_700_000_000_000);
    assert_eq!(seen["secret"], 40);
    assert_eq!(seen["forwarded"], true);
}

#[tokio::test]
async fn a_missing_route_gets_the_templates_answer() {
    let (platform, _seen) = start().await;
    let client = Client::new();
    for (method, path) in [
        (Method::GET, "/nowhere"),
        (Method::POST, "/things"),
        (Method::GET, "/loud"),
        (Method::GET, "/items"),
    ] {
        let request = client
            .request(method, format!("{}{path}", platform.url()))
            .header("Origin", "https://example.org")
            .body("{}");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let headers = response.headers().clone();
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["x-origin"], "https://example.org");
        assert_eq!(headers["content-type"], "application/json");
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["error"], "Not Found");
        assert_eq!(body["id"], headers["x-request-id"].to_str().unwrap());
        assert_eq!(headers["x-request-id"], headers["x-amzn-requestid"]);
        assert_eq!(body["path"], format!("/test{path}"));
    }
}

#[tokio::test]
async fn a_function_that_panics_or_hangs_costs_one_answer() {
    let (platform, _seen) = start().await;
    let client = Client::new();
    let panicked = client
        .post(format!("{}/panic", platform.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(panicked.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(
        panicked.text().await.unwrap(),
        r#"{"message":"Internal server error"}"#
    );
    let hung = client
        .get(format!("{}/slow", platform.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(hung.status(), StatusCode::GATEWAY_TIMEOUT);
    let next = client
        .get(format!("{}/things", platform.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(next.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_is_sent() {
    let (options, _seen) = options();
    let platform = Platform::start(Options {
        limits: Limits {
            body: 100_000,
            ..Limits::LOCAL
        },
        ..options
    })
    .await
    .unwrap();
    let url = format!("{}/body", platform.url());
    let client = Client::new();
    let fits = client
        .post(&url)
        .body(vec![b'x'; 100_000])
        .send()
        .await
        .unwrap();
    assert_eq!(
        (fits.status(), fits.text().await.unwrap().as_str()),
        (StatusCode::OK, "100000")
    );

    let announced = client
        .post(&url)
        .body(vec![b'x'; 3_000_000])
        .send()
        .await
        .unwrap();
    assert_eq!(announced.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        announced.text().await.unwrap(),
        r#"{"error":"Request Too Long"}"#
    );

    let parts = futures::stream::iter((0..300).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1000])));
    let streamed = client
        .post(&url)
        .body(reqwest::Body::wrap_stream(parts))
        .send()
        .await
        .unwrap();
    assert_eq!(streamed.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_stream_reaches_its_client_as_it_is_made_and_ends_when_the_client_leaves() {
    let (platform, mut seen) = start().await;
    let url = format!("{}/streams/endless", platform.url());
    let mut response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let first = tokio::time::timeout(MAX_WAIT, response.chunk()).await;
    assert_eq!(first.unwrap().unwrap().unwrap(), "first");
    assert!(seen.dropped.try_recv().is_err());
    drop(response);
    next(&mut seen.dropped).await;
    platform.stop().await;
}

#[tokio::test]
async fn a_stopping_platform_ends_streams_in_good_order() {
    let (platform, _seen) = start().await;
    let url = format!("{}/streams/endless", platform.url());
    let mut response = reqwest::get(url).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    let (stopped, rest) = tokio::join!(
        tokio::time::timeout(MAX_WAIT, platform.stop()),
        response.chunk()
    );
    stopped.unwrap();
    assert_eq!(rest.unwrap(), None);
}

#[tokio::test]
async fn a_stream_breaks_off_at_its_functions_timeout() {
    let (platform, mut seen) = start().await;
    let url = format!("{}/streams/endless", platform.url());
    let mut response = reqwest::get(url).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    let rest = tokio::time::timeout(MAX_WAIT, response.chunk()).await;
    rest.unwrap().unwrap_err();
    next(&mut seen.dropped).await;
}

#[tokio::test]
async fn routes_stream_if_their_functions_code_does() {
    let refused = async |change: fn(String) -> String| {
        let (_directory, file) = template(change);
        let (options, _seen) = options();
        start_error(Options {
            template: file.into(),
            ..options
        })
        .await
    };
    let error = refused(|text| {
        text.replace(", ResponseTransferMode: RESPONSE_STREAM", "")
            .replace(", TimeoutInMillis: 60000", "")
    })
    .await;
    assert!(
        error.ends_with("Resources.StreamFunction.Properties.Events.Stream: the function's code streams its responses, which needs ResponseTransferMode: RESPONSE_STREAM"),
        "{error}"
    );
    let error = refused(|text| {
        text.replace(
            "Path: /slow,",
            "ResponseTransferMode: RESPONSE_STREAM, Path: /slow,",
        )
    })
    .await;
    assert!(
        error.ends_with("Resources.EchoFunction.Properties.Events.Slow: ResponseTransferMode is RESPONSE_STREAM, but the function's code does not stream"),
        "{error}"
    );
}

#[tokio::test]
async fn strict_limits_are_those_of_api_gateway_and_lambda() {
    let (options, _seen) = options();
    let platform = Platform::start(options.with_strict_limits()).await.unwrap();
    let client = Client::new();
    let url = |path: &str| format!("{}{path}", platform.url());
    const MEGABYTE: usize = 1024 * 1024;
    for (kind, megabytes, status) in [
        ("text/plain", 5, StatusCode::OK),
        ("text/plain", 6, StatusCode::PAYLOAD_TOO_LARGE),
        // In base64 a third longer.
        ("application/octet-stream", 4, StatusCode::OK),
        ("application/octet-stream", 5, StatusCode::PAYLOAD_TOO_LARGE),
        (
            "application/octet-stream",
            11,
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ] {
        let request = client.post(url("/body")).header("content-type", kind);
        let request = request.bearer_auth(SESSION);
        let answer = request.body(vec![b'x'; megabytes * MEGABYTE]).send().await;
        assert_eq!(answer.unwrap().status(), status, "{megabytes} MB of {kind}");
    }
    for (length, status) in [
        (9_000, StatusCode::OK),
        (10_240, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let request = client
            .get(url("/things"))
            .header("x-long", "x".repeat(length));
        assert_eq!(request.send().await.unwrap().status(), status, "{length}");
    }
}

#[tokio::test]
async fn what_is_too_large_or_too_slow_for_aws_is_answered_as_by_api_gateway() {
    let (options, _seen) = options();
    let limits = Limits {
        response: Some(100_000),
        stream: Some(50_000),
        timeout: Some(Duration::from_millis(200)),
        ..Limits::AWS
    };
    let platform = Platform::start(Options { limits, ..options })
        .await
        .unwrap();
    let get = async |path: &str| {
        reqwest::get(format!("{}{path}", platform.url()))
            .await
            .unwrap()
    };
    let large = get("/large").await;
    assert_eq!(large.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(
        large.text().await.unwrap(),
        r#"{"message":"Internal server error"}"#
    );
    assert_eq!(get("/slow").await.status(), StatusCode::GATEWAY_TIMEOUT);

    let mut stream = get("/streams/large").await;
    assert_eq!(stream.status(), StatusCode::OK);
    let mut length = 0;
    let error = loop {
        match stream.chunk().await {
            Ok(Some(piece)) => length += piece.len(),
            Ok(None) => panic!("the stream came to its end"),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert!(length <= 50_000, "{length}");

    // A route may wait longer than the gateway's default does.
    let mut patient = get("/streams/endless").await;
    assert_eq!(patient.chunk().await.unwrap().unwrap(), "first");
    let rest = tokio::time::timeout(Duration::from_millis(600), patient.chunk());
    assert!(rest.await.is_err());
}
