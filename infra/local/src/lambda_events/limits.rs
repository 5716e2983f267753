//! Limits of a gateway on size and time: those of this machine, or those of AWS.

use std::collections::HashMap;
use std::time::Duration;

use auth::Credential;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{request, response};
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequestContext;
use serde_json::{Value, json};
use web::RoutePolicies;
use web::dialects::dialect_of;

use super::proxy::{event, media_type, text};

const MEGABYTE: usize = 1024 * 1024;
/// The largest body that is read of a request without a credential, unless its route takes more.
const UNAUTHENTICATED_BODY: usize = MEGABYTE;
/// As long as most servers leave an idle connection open.
const HEAD: Duration = Duration::from_secs(75);
const ARRIVAL: Duration = Duration::from_secs(20);
/// For each so many bytes that have arrived, a body may take another second.
const BYTES_PER_SECOND: usize = 10 * 1024;

/// The limits of a gateway and of the functions behind it. `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest request body, in bytes; beyond it the gateway answers 413.
    pub body: usize,
    /// The most bytes of a request line and its headers' values together; beyond it the gateway answers 413.
    pub headers: Option<usize>,
    /// The largest event that a function is invoked with, in bytes of JSON, with a binary body in base64; beyond it the gateway
    /// answers 413.
    pub event: Option<usize>,
    /// The largest response that a function may give whole, in bytes of JSON; beyond it the gateway answers 502.
    pub response: Option<usize>,
    /// The largest body of a streamed response, in bytes, at which it breaks off.
    pub stream: Option<u64>,
    /// The time that the gateway waits for a response, or for the end of a streamed one, where the route does not say.
    pub timeout: Option<Duration>,
    /// The time that the head of a request may take to arrive, and how long a connection may be idle.
    pub head: Duration,
    /// The time that a body may take to arrive, beside a second for every 10 KB of it; beyond it the gateway answers 408.
    pub arrival: Duration,
}

impl Limits {
    /// Those of this machine. A body may be larger than any route documents.
    pub const LOCAL: Self = Self {
        body: 64 * MEGABYTE,
        headers: None,
        event: None,
        response: None,
        stream: None,
        timeout: None,
        head: HEAD,
        arrival: ARRIVAL,
    };

    /// Those of API Gateway's REST APIs and of Lambda.
    pub const AWS: Self = Self {
        body: 10 * MEGABYTE,
        headers: Some(10_240),
        event: Some(6 * MEGABYTE),
        response: Some(6 * MEGABYTE),
        stream: Some(200 * MEGABYTE as u64),
        timeout: Some(Duration::from_secs(29)),
        head: HEAD,
        arrival: ARRIVAL,
    };

    /// The largest body that a request may have, where `policies` are those of all routes.
    pub(crate) fn body_of(&self, head: &request::Parts, policies: &RoutePolicies) -> usize {
        let path = head.uri.path();
        if Credential::read(dialect_of(path).credentials(), &head.headers).is_ok() {
            self.body
        } else {
            self.body
                .min(UNAUTHENTICATED_BODY.max(policies.max_body(&head.method, path)))
        }
    }

    /// The time that a body may take of which this much has arrived.
    pub(crate) fn arrival_of(&self, received: usize) -> Duration {
        self.arrival + Duration::from_secs((received / BYTES_PER_SECOND) as u64)
    }

    pub(crate) fn refuse_headers(&self, head: &request::Parts) -> bool {
        let line = head.method.as_str().len() + head.uri.to_string().len();
        let values: usize = head.headers.values().map(|value| value.len()).sum();
        self.headers.is_some_and(|limit| line + values > limit)
    }

    /// `binary`: the media types whose bodies go into the event in base64.
    pub(crate) fn refuse_event(
        &self,
        head: &request::Parts,
        context: &ApiGatewayProxyRequestContext,
        body: &[u8],
        binary: &[String],
    ) -> bool {
        // JSON makes at most six bytes of one.
        self.event.is_some_and(|limit| {
            body.len() > limit / 8
                && size(&event(head, context.clone(), HashMap::new(), body, binary)) > limit
        })
    }

    pub(crate) fn refuse_response(&self, head: &response::Parts, body: &[u8]) -> bool {
        self.response
            .is_some_and(|limit| body.len() > limit / 8 && size(&result(head, body)) > limit)
    }
}

fn size(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

/// The response of a function to Lambda, as `lambda_http` writes it.
fn result(head: &response::Parts, body: &[u8]) -> Value {
    let kind = media_type(&head.headers, &CONTENT_TYPE);
    let is_text = kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || [
            "application/json",
            "application/javascript",
            "application/xml",
        ]
        .contains(&kind);
    let is_binary = !is_text || head.headers.contains_key(CONTENT_ENCODING);
    let headers: HashMap<&str, Vec<_>> = head
        .headers
        .keys()
        .map(|name| {
            let values = head.headers.get_all(name).iter();
            let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
            (name.as_str(), texts.collect())
        })
        .collect();
    json!({
        "statusCode": head.status.as_u16(),
        "headers": {},
        "multiValueHeaders": headers,
        "body": text(body, is_binary),
        "isBase64Encoded": is_binary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_body_counts_in_base64() {
        let (mut head, ()) = http::Request::new(()).into_parts();
        let types = ["audio/*".to_owned(), "multipart/form-data".to_owned()];
        let context = ApiGatewayProxyRequestContext::default();
        let limits = Limits {
            event: Some(100_000),
            ..Limits::LOCAL
        };
        for (kind, body, is_refused) in [
            ("text/plain", vec![b'x'; 90_000], false),
            ("text/plain; charset=utf-8", vec![b'x'; 100_000], true),
            // Escaped in JSON.
            ("application/json", vec![b'"'; 60_000], true),
            ("audio/mpeg", vec![b'x'; 60_000], false),
            ("audio/mpeg", vec![b'x'; 90_000], true),
            ("Multipart/Form-Data; boundary=x", vec![b'x'; 90_000], true),
            // What is not UTF-8 is replaced, three bytes for one.
            ("video/mpeg", vec![0xff; 60_000], true),
        ] {
            head.headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            let refused = limits.refuse_event(&head, &context, &body, &types);
            assert_eq!(refused, is_refused, "{kind}, {}", body.len());
        }
    }
}
