//! Requests, from the client's side.

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use signalbox::{Options, Platform};

use crate::fixture::{PATIENCE, options, start};

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
        body_limit: 100_000,
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
async fn a_response_streams_through_until_the_client_leaves() {
    let (platform, _seen) = start().await;
    let url = format!("{}/items/stream", platform.url());
    let mut response = reqwest::get(url).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, response.chunk()).await;
    assert_eq!(first.unwrap().unwrap().unwrap(), "first");
    drop(response);
    // With the client gone nothing is left to wait for.
    tokio::time::timeout(PATIENCE, platform.stop())
        .await
        .unwrap();
}
