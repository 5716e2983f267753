//! The authenticator in front of an embedded service: a request that it refuses never reaches the service.
//!
//! Every process of the machine reaches a loopback port, and so does every web page in a browser on it. Therefore `Host` must
//! be exactly the address at which the service listens (DNS rebinding brings another name), `Origin`, which browsers send,
//! must be absent, and the request must have an AWS signature (version 4) by an access key of this start.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use runtime::Clock;
use rustack_auth::{AuthError, hash_payload, verify_sigv4};
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::access_keys::{AccessKeys, random};
use crate::network::connections;
use crate::template::REGION;

/// A service behind its authenticator.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The address that it listens at.
    pub address: SocketAddr,
    /// The header of requests that the authenticator has let through. A request without it must be signed, for this address.
    pub pass: (HeaderName, HeaderValue),
}

/// The difference that a signature's time may have from this machine's, as in AWS.
const LARGEST_SKEW: TimeDelta = TimeDelta::minutes(15);
/// The time that a body may take to arrive. Its sender is on this machine.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// With this header an authenticator tells the listener behind it that it has authenticated a request.
const PASS: HeaderName = HeaderName::from_static("x-signalbox-authenticated");
const PASS_LENGTH: usize = 43;
const DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// The facts that an authenticator must know of its service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    /// Its name in a signature's scope.
    pub(crate) service: &'static str,
    /// The largest body of a request, in bytes.
    pub(crate) largest_body: usize,
}

/// The authentication of requests to one address. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Authenticator {
    protocol: Protocol,
    host: HeaderValue,
    keys: AccessKeys,
    /// The value of the header [`PASS`] on requests that another authenticator has authenticated.
    pass: Option<HeaderValue>,
    clock: Clock,
}

/// The reason why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this service has another host")]
    Host,
    #[error("this service answers no web page")]
    Origin,
    #[error("the request is not signed by this platform: {0}")]
    Signature(#[from] AuthError),
    #[error("the request is not signed by this platform: its time is not now")]
    Time,
    #[error("the request is not signed by this platform: its scope is another service or region")]
    Scope,
    #[error("the request is not signed by this platform")]
    Unsigned,
    #[error("the request has more than {0} bytes")]
    TooLarge(usize),
    #[error("the request did not arrive whole")]
    BrokenOff,
}

impl Authenticator {
    /// an authenticator of the service that listens at `address`.
    pub(crate) fn new(protocol: Protocol, address: SocketAddr, keys: AccessKeys) -> Self {
        Self {
            protocol,
            host: host(address),
            keys,
            pass: None,
            // Signatures have the system's time, whatever time functions are told.
            clock: Clock::system(),
        }
    }

    /// The authenticator of a second listener of the same service, at `address`, behind a proxy that passes on what this one has
    /// authenticated: see [`Authenticator::mark`]. A request that comes to it directly is authenticated in the same way as here.
    pub(crate) fn behind(&mut self, address: SocketAddr) -> (Self, Upstream) {
        let pass = HeaderValue::try_from(random(PASS_LENGTH)).expect("letters and digits");
        self.pass = Some(pass.clone());
        let back = Self {
            host: host(address),
            ..self.clone()
        };
        let pass = (PASS, pass);
        (back, Upstream { address, pass })
    }

    /// Marks a request as authenticated.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        if let Some(pass) = &self.pass {
            headers.insert(PASS, pass.clone());
        }
    }

    /// Returns `true` if another authenticator has authenticated a request.
    pub(crate) fn is_marked(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(PASS);
        shown.zip(self.pass.as_ref()).is_some_and(|(shown, pass)| {
            let is_equal = shown.as_bytes().ct_eq(pass.as_bytes());
            is_equal.into()
        })
    }

    /// # Errors
    /// The request was sent to another name of this address.
    pub(crate) fn check_host(&self, head: &Parts) -> Result<(), Refusal> {
        is_sent_to(&self.host, head)
            .then_some(())
            .ok_or(Refusal::Host)
    }

    /// Authenticates a request and reads its body.
    async fn admit(&self, request: Request<Incoming>) -> Result<(Parts, Bytes), Refusal> {
        let (head, body) = request.into_parts();
        if self.is_marked(&head.headers) {
            let body = self.read(body).await?;
            return Ok((head, body));
        }
        self.check_host(&head)?;
        if head.headers.contains_key(ORIGIN) {
            return Err(Refusal::Origin);
        }
        // A request that shows no signature, or none of this time, ends here, before its body is read.
        self.check_time(&head.headers)?;
        let body = self.read(body).await?;
        let signed = verify_sigv4(&head, &hash_payload(&body), &self.keys)?;
        if signed.service == self.protocol.service && signed.region == REGION {
            Ok((head, body))
        } else {
            Err(Refusal::Scope)
        }
    }

    fn check_time(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = text(http::header::AUTHORIZATION).ok_or(Refusal::Unsigned)?;
        let signed = rustack_auth::sigv4::parse_authorization_header(authorization)?;
        let date = text(DATE).ok_or(Refusal::Time)?;
        let time = parse_time(date).ok_or(Refusal::Time)?;
        if date.starts_with(&signed.date) && (self.clock.now() - time).abs() <= LARGEST_SKEW {
            Ok(())
        } else {
            Err(Refusal::Time)
        }
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let largest = self.protocol.largest_body;
        let read = Limited::new(body, largest).collect();
        match tokio::time::timeout(BODY_WITHIN, read).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge(largest)),
            Ok(Err(_)) | Err(_) => Err(Refusal::BrokenOff),
        }
    }

    /// Serves what `answer` gives for authenticated requests, until `stop`.
    pub(crate) async fn serve<A, F>(
        self,
        listener: TcpListener,
        answer: A,
        stop: CancellationToken,
        stop_within: Duration,
    ) where
        A: Fn(Parts, Bytes) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let service_for = move |_| {
            let (authenticator, answer) = (self.clone(), answer.clone());
            service_fn(move |request| {
                let (authenticator, answer) = (authenticator.clone(), answer.clone());
                async move {
                    Ok::<_, Infallible>(match authenticator.admit(request).await {
                        Ok((head, body)) => answer(head, body).await,
                        Err(refusal) => refusal.into_json(),
                    })
                }
            })
        };
        connections::serve(listener, service_for, stop, stop_within).await;
    }
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BrokenOff => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// As services answer whose protocol is JSON.
    fn into_json(self) -> Response<Body> {
        let kind = match self {
            Self::Signature(AuthError::AccessKeyNotFound(_)) => "UnrecognizedClientException",
            Self::Signature(_) | Self::Time | Self::Scope => "InvalidSignatureException",
            Self::Unsigned => "MissingAuthenticationTokenException",
            Self::TooLarge(_) => "RequestEntityTooLargeException",
            Self::Host | Self::Origin | Self::BrokenOff => "AccessDeniedException",
        };
        let body = json!({ "__type": kind, "message": self.to_string() });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status();
        // Browsers display this type, so that a refusal can be read where a page has led its browser here.
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// Returns `true` if a request names `host`, and no other, as the host that it was sent to.
pub(crate) fn is_sent_to(host: &HeaderValue, head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    // In the absolute form, which proxies get, the request line names a host of its own.
    hosts.next() == Some(host) && hosts.next().is_none() && head.uri.authority().is_none()
}

/// The `Host` that clients of this address send.
pub(crate) fn host(address: SocketAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).expect("an address is visible ASCII")
}

/// `20261122T101530Z`
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok()?;
    Some(time.and_utc())
}
