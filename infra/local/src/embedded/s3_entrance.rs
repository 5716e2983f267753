//! Who may ask S3: the platform by what it signs, and others by what the platform has signed for them, which are addresses
//! (presigned URLs) and forms (POST policies). s3s verifies the signatures.

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

use super::forwarding::Forwarding;
use super::front::{Front, Guarded, Refusal};

/// Bodies are read as they come; s3s limits them.
pub(crate) const GUARDED: Guarded = Guarded {
    service: "s3",
    largest_body: usize::MAX,
};

/// The web pages that may use what the platform has signed: those of the platform itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    /// Of origins such as `https://agents.example.com`. What is none is left out.
    pub(crate) fn new(origins: impl IntoIterator<Item = String>) -> Self {
        Self(
            origins
                .into_iter()
                .filter(|origin| origin.contains("://"))
                .collect(),
        )
    }

    fn has(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|known| origin == known)
    }
}

/// What requests are passed on to.
#[derive(Clone)]
pub(crate) enum Buckets {
    Here(S3Service),
    /// Something that passes them on in its turn.
    Behind(Forwarding),
}

/// The way into the buckets.
pub(crate) struct Entrance {
    pub(crate) front: Front,
    pub(crate) origins: Origins,
    pub(crate) buckets: Buckets,
}

/// What a request shows.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// That this platform sends it.
    Signature,
    /// That this platform has signed it for somebody.
    Presigned,
    /// That a browser asks whether a page may send such a request.
    Preflight,
}

impl Entrance {
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let origin = head.headers.get(ORIGIN).cloned();
        let mut response = match self.admit(&head) {
            Err(refusal) => return refused(&refusal),
            Ok(Shown::Preflight) => preflight(&head),
            Ok(Shown::Signature | Shown::Presigned) => match &self.buckets {
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
        // Only one of ours gets here.
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

    fn admit(&self, head: &Parts) -> Result<Shown, Refusal> {
        if self.front.is_marked(&head.headers) {
            return Ok(Shown::Signature);
        }
        self.front.check_host(head)?;
        let shown = shown(head).ok_or(Refusal::Unsigned)?;
        match head.headers.get(ORIGIN) {
            // The platform is no web page.
            Some(_) if shown == Shown::Signature => Err(Refusal::Origin),
            Some(origin) if !self.origins.has(origin) => Err(Refusal::Origin),
            _ => Ok(shown),
        }
    }
}

fn shown(head: &Parts) -> Option<Shown> {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    if head.method == Method::OPTIONS {
        let asks = head.headers.contains_key(ORIGIN)
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        return asks.then_some(Shown::Preflight);
    }
    if let Some(authorization) = text(AUTHORIZATION) {
        // Nothing else is a signature of this service, such as the older version of signatures.
        let signed = parse_authorization_header(authorization).ok()?;
        return (signed.service == GUARDED.service).then_some(Shown::Signature);
    }
    let query = head.uri.query().unwrap_or_default();
    let mut pairs = query.split('&');
    if pairs.any(|pair| pair.starts_with("X-Amz-Signature=")) {
        return Some(Shown::Presigned);
    }
    let kind = text(CONTENT_TYPE).unwrap_or_default();
    let is_form = kind.to_ascii_lowercase().starts_with("multipart/form-data");
    (head.method == Method::POST && is_form && query.is_empty()).then_some(Shown::Presigned)
}

/// What the signature allows is what the page may send.
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
