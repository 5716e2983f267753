//! Passing requests on to what a test has put between an authenticator and its service.

use std::net::SocketAddr;

use axum::body::Body;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Response, StatusCode};

use super::authenticator::Authenticator;

/// The destination of requests that an authenticator has let through.
#[derive(Clone)]
pub(crate) struct Forwarding {
    to: SocketAddr,
    authenticator: Authenticator,
    client: reqwest::Client,
}

impl Forwarding {
    /// To `to`, marked as let through by `authenticator`.
    pub(crate) fn new(to: SocketAddr, authenticator: Authenticator) -> anyhow::Result<Self> {
        let redirects = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().no_proxy().redirect(redirects);
        Ok(Self {
            to,
            authenticator,
            client: client.build()?,
        })
    }

    /// Passes a request on as it came, its `Host` included, since that is signed.
    pub(crate) async fn answer(
        &self,
        head: Parts,
        body: impl Into<reqwest::Body>,
    ) -> Response<Body> {
        let mut headers = head.headers;
        self.authenticator.mark(&mut headers);
        let url = format!("http://{}{}", self.to, head.uri);
        let request = self.client.request(head.method, url).headers(headers);
        match request.body(body).send().await {
            Ok(answer) => {
                let mut answer = Response::<reqwest::Body>::from(answer);
                for header in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
                    answer.headers_mut().remove(header);
                }
                answer.map(Body::new)
            }
            Err(error) => {
                tracing::warn!(%error, "a request was not passed on");
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                answer
            }
        }
    }
}
