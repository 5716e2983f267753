//! The authenticator of S3. Beside the platform's own signed requests it admits presigned ones of any client: presigned URLs, and forms
//! with a signed POST policy. Web pages may send those from the platform's own origins and from those that may call it. s3s
//! verifies the signatures.

use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use rustack_auth::sigv4::parse_authorization_header;
use s3s::service::S3Service;

use super::authenticator::{Authenticator, Protocol, Refusal};
use super::forwarding::Forwarding;
use crate::network::hosts::Hosts;

/// Bodies are read as they come; s3s limits them.
pub(crate) const PROTOCOL: Protocol = Protocol {
    service: "s3",
    largest_body: usize::MAX,
};

/// The web pages that may send presigned requests: the gateway's, by every name that it has, and those of other known origins.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    hosts: Hosts,
    gateway_port: u16,
    others: Vec<String>,
}

impl Origins {
    /// Others are origins such as `https://agents.example.com`. Texts that are not origins are left out.
    pub(crate) fn new(
        hosts: Hosts,
        gateway_port: u16,
        others: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut others: Vec<String> = others.into_iter().collect();
        others.retain(|origin| origin.contains("://"));
        Self {
            hosts,
            gateway_port,
            others,
        }
    }

    fn has(&self, origin: &HeaderValue) -> bool {
        let is_gateways = |origin| self.hosts.has_origin(origin, self.gateway_port);
        self.others.iter().any(|known| origin == known) || origin.to_str().is_ok_and(is_gateways)
    }
}

/// The service that requests are passed on to.
#[derive(Clone)]
pub(crate) enum Buckets {
    Here(S3Service),
    /// Something that passes them on in its turn.
    Behind(Forwarding),
}

/// The authenticator of the buckets.
pub(crate) struct S3Authenticator {
    pub(crate) authenticator: Authenticator,
    pub(crate) origins: Origins,
    pub(crate) buckets: Buckets,
}

/// Authentication of requests.
#[derive(Debug, PartialEq, Eq)]
enum Proof {
    /// By a signature in `Authorization`: the platform sends it.
    Signature,
    /// By a signature in its query or its form: the platform has signed it for another client.
    Presigned,
    /// Not at all: a browser asks whether a page may send a presigned request.
    Preflight,
}

impl S3Authenticator {
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let origin = head.headers.get(ORIGIN).cloned();
        let mut response = match self.admit(&head) {
            Err(refusal) => return refused(&refusal),
            Ok(Proof::Preflight) => preflight(&head),
            Ok(Proof::Signature | Proof::Presigned) => match &self.buckets {
                Buckets::Here(service) => {
                    let request = Request::from_parts(head, s3s::Body::from(body));
                    match service.call(request).await {
                        Ok(response) => response.map(Body::new),
                        Err(error) => {
                            tracing::error!(?error, "S3 failed");
                            let mut response = Response::new(Body::empty());
                            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                            response
                        }
                    }
                }
                Buckets::Behind(forwarding) => {
                    let body = reqwest::Body::wrap_stream(Body::new(body).into_data_stream());
                    forwarding.answer(head, body).await
                }
            },
        };
        // Only one of the known origins gets here.
        if let Some(origin) = origin {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("ETag"),
            );
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        response
    }

    fn admit(&self, head: &Parts) -> Result<Proof, Refusal> {
        if self.authenticator.is_marked(&head.headers) {
            return Ok(Proof::Signature);
        }
        self.authenticator.check_host(head)?;
        let proof = proof(head).ok_or(Refusal::Unsigned)?;
        match head.headers.get(ORIGIN) {
            // The platform is no web page.
            Some(_) if proof == Proof::Signature => Err(Refusal::Origin),
            Some(origin) if !self.origins.has(origin) => Err(Refusal::Origin),
            _ => Ok(proof),
        }
    }
}

fn proof(head: &Parts) -> Option<Proof> {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    if head.method == Method::OPTIONS {
        let asks = head.headers.contains_key(ORIGIN)
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        return asks.then_some(Proof::Preflight);
    }
    if let Some(authorization) = text(AUTHORIZATION) {
        // Nothing else is a signature of this service, such as the older version of signatures.
        let signed = parse_authorization_header(authorization).ok()?;
        return (signed.service == PROTOCOL.service).then_some(Proof::Signature);
    }
    let query = head.uri.query().unwrap_or_default();
    let mut pairs = query.split('&');
    if pairs.any(|pair| pair.starts_with("X-Amz-Signature=")) {
        return Some(Proof::Presigned);
    }
    let kind = text(CONTENT_TYPE).unwrap_or_default();
    let is_form = kind.to_ascii_lowercase().starts_with("multipart/form-data");
    (head.method == Method::POST && is_form && query.is_empty()).then_some(Proof::Presigned)
}

/// Any header is allowed: the signature decides what the page may send.
fn preflight(head: &Parts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(asked) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// As S3 answers.
fn refused(refusal: &Refusal) -> Response<Body> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>{refusal}</Message></Error>"
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = refusal.status();
    let xml = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(CONTENT_TYPE, xml);
    response
}
