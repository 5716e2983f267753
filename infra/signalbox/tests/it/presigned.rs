//! Presigned forms and URLs: the only requests that S3 takes from other clients than the platform.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use local::Platform;
use reqwest::{Client, Method, Response, StatusCode};
use runtime::Clock;
use rustack_auth::sigv4::{compute_signature, derive_signing_key};
use serde_json::{Value, json};

use crate::fixture::start;

const KEY: &str = "u/upload";
const CONTENT: &str = "what a client uploads";
const EVIL: &str = "http://evil.example";

/// A form that a page may send to S3 in the name of a function.
struct Form {
    url: String,
    fields: Vec<(&'static str, String)>,
}

impl Form {
    /// For an object of this key and of at most 100 bytes.
    fn presigned(platform: &Platform, now: DateTime<Utc>) -> Self {
        let environment = platform.function_environment("EchoFunction").unwrap();
        let bucket = &environment["FILES_BUCKET"];
        let date = now.format("%Y%m%d").to_string();
        let time = now.format("%Y%m%dT%H%M%SZ").to_string();
        let credential = format!(
            "{}/{date}/us-east-1/s3/aws4_request",
            environment["AWS_ACCESS_KEY_ID"]
        );
        let policy = json!({
            "expiration": (now + TimeDelta::minutes(10)).format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "conditions": [
                {"bucket": bucket}, {"key": KEY}, ["content-length-range", 1, 100],
                {"x-amz-algorithm": "AWS4-HMAC-SHA256"}, {"x-amz-credential": credential}, {"x-amz-date": time},
            ],
        });
        let policy = BASE64_STANDARD.encode(policy.to_string());
        let secret = &environment["AWS_SECRET_ACCESS_KEY"];
        let key = derive_signing_key(secret, &date, "us-east-1", "s3").unwrap();
        let signature = compute_signature(&key, &policy).unwrap();
        Self {
            url: format!("{}/{bucket}", environment["AWS_ENDPOINT_URL_S3"]),
            fields: vec![
                ("key", KEY.to_owned()),
                ("policy", policy),
                ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
                ("x-amz-credential", credential),
                ("x-amz-date", time),
                ("x-amz-signature", signature),
            ],
        }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let field = self.fields.iter_mut().find(|(known, _)| *known == name);
        field.unwrap().1 = value.into();
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| *known != name);
        self
    }

    async fn send(&self, origin: Option<&str>, content: &str) -> Response {
        let mut body = String::new();
        for (name, value) in &self.fields {
            body += &format!(
                "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        body += &format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{content}\r\n--b--\r\n"
        );
        let form = client().post(&self.url).body(body);
        let form = form.header("content-type", "multipart/form-data; boundary=b");
        let form = match origin {
            Some(origin) => form.header("origin", origin),
            None => form,
        };
        form.send().await.unwrap()
    }
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn stored(platform: &Platform) -> Option<Vec<u8>> {
    let services = platform.services();
    let get = services
        .s3
        .get_object()
        .bucket(&services.config.files_bucket);
    let got = get.key(KEY).send().await.ok()?;
    Some(got.body.collect().await.unwrap().to_vec())
}

fn policy(form: &Form) -> Value {
    let (_, policy) = &form.fields[1];
    serde_json::from_slice(&BASE64_STANDARD.decode(policy).unwrap()).unwrap()
}

#[tokio::test]
async fn a_presigned_form_uploads_and_a_changed_one_does_not() {
    let (platform, _seen) = start().await;
    let now = Clock::system().now();
    let own = format!("http://localhost:{}", platform.port());
    let form = || Form::presigned(&platform, now);

    let mut wider = policy(&form());
    wider["conditions"][2] = json!(["content-length-range", 1, 1_000_000]);
    let wider = BASE64_STANDARD.encode(wider.to_string());
    for (changed, form) in [
        ("the key", form().with("key", "u/other")),
        ("the policy", form().with("policy", wider)),
        (
            "the signature",
            form().with("x-amz-signature", "0".repeat(64)),
        ),
        ("no signature", form().without("x-amz-signature")),
        (
            "the time",
            Form::presigned(&platform, now - TimeDelta::hours(1)),
        ),
    ] {
        let status = form.send(Some(&own), CONTENT).await.status();
        assert!(
            status == StatusCode::FORBIDDEN || status == StatusCode::BAD_REQUEST,
            "{changed}: {status}"
        );
    }
    let too_large = form().send(Some(&own), &"x".repeat(101)).await;
    assert_eq!(too_large.status(), StatusCode::BAD_REQUEST);
    let foreign = form().send(Some(EVIL), CONTENT).await;
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    assert!(
        !foreign
            .headers()
            .contains_key("access-control-allow-origin")
    );
    assert_eq!(stored(&platform).await, None, "none of them uploads");

    let uploaded = form().send(Some(&own), CONTENT).await;
    assert_eq!(uploaded.status(), StatusCode::NO_CONTENT);
    assert_eq!(uploaded.headers()["access-control-allow-origin"], own);
    assert_eq!(stored(&platform).await.unwrap(), CONTENT.as_bytes());
    // What is no web page has no origin.
    assert_eq!(
        form().send(None, CONTENT).await.status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_presigned_address_shows_what_it_names_to_the_platforms_own_pages() {
    let (platform, _seen) = start().await;
    let services = platform.services();
    let bucket = &services.config.files_bucket;
    let put = services.s3.put_object().bucket(bucket).key(KEY);
    put.body(CONTENT.as_bytes().to_vec().into())
        .send()
        .await
        .unwrap();
    let within = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let get = services.s3.get_object().bucket(bucket).key(KEY);
    let url = get.presigned(within).await.unwrap().uri().to_owned();

    let own = format!("http://127.0.0.1:{}", platform.port());
    let shown = client()
        .get(&url)
        .header("origin", &own)
        .send()
        .await
        .unwrap();
    assert_eq!(shown.headers()["access-control-allow-origin"], own);
    assert_eq!(shown.text().await.unwrap(), CONTENT);
    assert_eq!(
        client().get(&url).send().await.unwrap().status(),
        StatusCode::OK
    );
    for refused in [
        client().get(&url).header("origin", EVIL),
        client().get(&url).header("host", "evil.example"),
        client().delete(&url),
        client().get(url.replace(KEY, "u/other")),
        client().get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")),
    ] {
        let refused = refused.send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }

    let ask = |origin: &str| {
        let ask = client()
            .request(Method::OPTIONS, &url)
            .header("origin", origin);
        ask.header("access-control-request-method", "PUT").send()
    };
    // Every name of the gateway's is the platform's, and every port but the gateway's is another's.
    let port = platform.port();
    for own in ["app.localhost", "[::1]"].map(|host| format!("http://{host}:{port}")) {
        assert_eq!(
            ask(&own).await.unwrap().status(),
            StatusCode::NO_CONTENT,
            "{own}"
        );
    }
    let other = format!("http://localhost:{}", port - 1);
    assert_eq!(ask(&other).await.unwrap().status(), StatusCode::FORBIDDEN);
    let allowed = ask(&own).await.unwrap();
    assert_eq!(allowed.headers()["access-control-allow-origin"], own);
    assert!(
        allowed.headers()["access-control-allow-methods"]
            .to_str()
            .unwrap()
            .contains("PUT")
    );
    assert_eq!(ask(EVIL).await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_is_signed_is_answered_at_its_own_address_alone() {
    let (platform, _seen) = start().await;
    let services = platform.services();
    let table = services.config.tables.records.clone();
    let describe = || services.dynamodb.describe_table().table_name(&table);
    describe().send().await.unwrap();
    for (header, value) in [("origin", "http://127.0.0.1"), ("host", "evil.example")] {
        let change = describe().customize().mutate_request(move |request| {
            request.headers_mut().insert(header, value);
        });
        let refused = change.send().await.unwrap_err();
        let status = refused.raw_response().unwrap().status().as_u16();
        assert_eq!(status, 403, "{header}");
    }
    // Errors of the service come through as they are.
    let missing = services.dynamodb.describe_table().table_name("missing");
    let error = missing.send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
    let unkeyed = services.dynamodb.get_item().table_name(&table);
    let error = unkeyed.send().await.unwrap_err().into_service_error();
    assert_eq!(
        error.meta().code(),
        Some("ValidationException"),
        "{error:?}"
    );
    // A signature for one service is none for another.
    let mut config = runtime::Config::clone(&services.config);
    config
        .aws
        .sqs_endpoint
        .clone_from(&config.aws.dynamodb_endpoint);
    let crossed = runtime::Services::new(config, Clock::system()).sqs;
    let refused = crossed.list_queues().send().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 403);
}
