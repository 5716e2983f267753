//! A proxy before S3 that writes down every call.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode, Uri};

use crate::dynamodb_recorder::{caller, listen};

/// The largest object that a test may send.
const LARGEST: usize = 64 * 1024 * 1024;

/// One call to S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Call {
    /// The owner of the access key that signed the call: a function's logical id.
    pub caller: String,
    /// The action that a policy has to allow: `s3:GetObject`, ...
    pub action: String,
    pub bucket: String,
    /// Empty for calls that concern the bucket.
    pub key: String,
}

/// The calls since the last look.
#[derive(Clone, Debug, Default)]
pub struct S3Recorder(Arc<Mutex<Vec<S3Call>>>);

#[derive(Clone)]
struct Proxy {
    upstream: String,
    client: reqwest::Client,
    recorder: S3Recorder,
}

impl S3Recorder {
    /// The proxy to give to the platform's options. It serves on the runtime that starts the platform.
    pub fn proxy(&self) -> local::Proxy {
        let recorder = self.clone();
        Box::new(move |upstream| Box::pin(start(upstream.address, recorder)))
    }

    /// The calls since the last look.
    pub fn take(&self) -> Vec<S3Call> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, call: S3Call) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
    }
}

async fn start(upstream: SocketAddr, recorder: S3Recorder) -> SocketAddr {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client without settings");
    let proxy = Proxy {
        upstream: format!("http://{upstream}"),
        client,
        recorder,
    };
    listen(Router::new().fallback(forward).with_state(proxy)).await
}

async fn forward(State(proxy): State<Proxy>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let (bucket, key) = target(&head.uri);
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let action = action(&head.method, &head.uri, &key);
    let keys = if action == "s3:DeleteObject" && key.is_empty() {
        named_keys(&String::from_utf8_lossy(&body))
    } else {
        vec![key]
    };
    for key in keys {
        proxy.recorder.note(S3Call {
            caller: caller(&head.headers),
            action: action.clone(),
            bucket: bucket.clone(),
            key,
        });
    }
    // The host stays what the client has signed.
    let url = format!("{}{}", proxy.upstream, head.uri);
    let request = proxy.client.request(head.method, url).headers(head.headers);
    match request.body(body).send().await {
        Ok(answer) => {
            let status = answer.status();
            let mut headers = answer.headers().clone();
            headers.remove(TRANSFER_ENCODING);
            headers.remove(CONTENT_LENGTH);
            let body = answer.bytes().await.unwrap_or_default();
            (status, headers, Body::from(body)).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// The keys of objects that the body of a `DeleteObjects` names. Ours have no characters that XML escapes.
fn named_keys(body: &str) -> Vec<String> {
    let parts = body.split("<Key>").skip(1);
    let keys = parts.filter_map(|part| part.split_once("</Key>"));
    keys.map(|(key, _)| key.to_owned()).collect()
}

/// Bucket and key of a path-style address.
fn target(uri: &Uri) -> (String, String) {
    let path = uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (bucket.to_owned(), key.to_owned())
}

fn action(method: &Method, uri: &Uri, key: &str) -> String {
    let action = match (method, key) {
        (&Method::GET | &Method::HEAD, "") => "ListBucket",
        (&Method::GET | &Method::HEAD, _) => "GetObject",
        (&Method::PUT | &Method::POST, key) if !key.is_empty() => "PutObject",
        (&Method::DELETE, key) if !key.is_empty() => "DeleteObject",
        // `POST /bucket?delete` names its keys in the body.
        (&Method::POST, _) if uri.query().is_some_and(|query| query.contains("delete")) => {
            "DeleteObject"
        }
        (&Method::POST, _) => "PutObject",
        _ => return format!("s3:{method}"),
    };
    format!("s3:{action}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_of_many_objects_is_one_of_each() {
        let body = "<Delete><Object><Key>v/1/2</Key></Object><Object><Key>v/3</Key></Object><Quiet>true</Quiet></Delete>";
        assert_eq!(named_keys(body), ["v/1/2", "v/3"]);
        assert!(named_keys("<Delete></Delete>").is_empty());
    }

    #[test]
    fn a_call_is_what_a_policy_would_call_it() {
        for (method, uri, expected) in [
            (
                Method::GET,
                "/b/v/1/2?x-id=GetObject",
                ("s3:GetObject", "v/1/2"),
            ),
            (Method::HEAD, "/b/v/1", ("s3:GetObject", "v/1")),
            (
                Method::PUT,
                "/b/v/1?x-id=PutObject",
                ("s3:PutObject", "v/1"),
            ),
            (Method::DELETE, "/b/v/1", ("s3:DeleteObject", "v/1")),
            (Method::GET, "/b?list-type=2", ("s3:ListBucket", "")),
            (Method::GET, "/b/?list-type=2", ("s3:ListBucket", "")),
            (Method::POST, "/b?delete", ("s3:DeleteObject", "")),
            (Method::POST, "/b", ("s3:PutObject", "")),
            (Method::PUT, "/b", ("s3:PUT", "")),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let (bucket, key) = target(&uri);
            let action = action(&method, &uri, &key);
            assert_eq!((action.as_str(), key.as_str()), expected, "{method} {uri}");
            assert_eq!(bucket, "b");
        }
    }
}
