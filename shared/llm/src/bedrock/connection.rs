//! The SDK's connection: our guarded client, so that its limits and its guard hold here too.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_bedrockruntime::config::SharedHttpClient;
use aws_sdk_bedrockruntime::config::http::{HttpRequest, HttpResponse};
use aws_sdk_bedrockruntime::error::ConnectorError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http_body::{Body, Frame};
use outbound::{OutboundClient, OutboundError, OutboundRequest};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::http_model::LIMITS;

/// A client whose requests may take `timeout` each.
pub(super) fn through(outbound: OutboundClient, timeout: Duration) -> SharedHttpClient {
    let connection = SharedHttpConnector::new(Connection { outbound, timeout });
    http_client_fn(move |_, _| connection.clone())
}

#[derive(Debug)]
struct Connection {
    outbound: OutboundClient,
    timeout: Duration,
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (outbound, timeout) = (self.outbound.clone(), self.timeout);
        HttpConnectorFuture::new(async move {
            let request = outgoing(&request, timeout)
                .ok_or_else(|| ConnectorError::user("not a request of ours".into()))?;
            let failed = |error: OutboundError| ConnectorError::io(error.into());
            let reply = outbound.open(request, LIMITS).await.map_err(failed)?;
            let (status, headers) = (reply.status, reply.headers.clone());
            let body = SdkBody::from_body_1_x(ReplyBody(Mutex::new(reply.chunks().boxed())));
            let status = status.as_u16().try_into();
            let mut response = HttpResponse::new(
                status.map_err(|error| ConnectorError::io(Box::new(error)))?,
                body,
            );
            for (name, value) in &headers {
                if let Ok(value) = value.to_str() {
                    let headers = response.headers_mut();
                    headers.append(name.as_str().to_owned(), value.to_owned());
                }
            }
            Ok(response)
        })
    }
}

fn outgoing(request: &HttpRequest, timeout: Duration) -> Option<OutboundRequest> {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers() {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(name.eq_ignore_ascii_case("authorization"));
        headers.append(HeaderName::try_from(name).ok()?, value);
    }
    let url = Url::parse(request.uri()).ok()?;
    Some(OutboundRequest {
        headers,
        body: Some(Bytes::copy_from_slice(request.body().bytes()?)),
        timeout,
        ..OutboundRequest::new(Method::from_bytes(request.method().as_bytes()).ok()?, url)
    })
}

/// The body of a reply. Only ever used by one at a time, which the lock makes known to the compiler.
struct ReplyBody(Mutex<BoxStream<'static, Result<Bytes, OutboundError>>>);

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        let stream = self
            .0
            .get_mut()
            .unwrap_or_else(|poison| poison.into_inner());
        let piece = stream.poll_next_unpin(context);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
