//! Replies: whole, or in pieces as they come.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::{OutboundError, failure};

/// A complete reply, whatever its status.
#[derive(Clone, Debug)]
pub struct OutboundResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The limits of a reply that comes in pieces, beside its request's time limit.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// The most that the body may have, in bytes.
    pub bytes: usize,
    /// The time that the next piece may take to come, once the first is there.
    pub idle: Duration,
}

/// A reply, whatever its status, whose body is still to come.
#[derive(Debug)]
pub struct OutboundStream {
    pub status: StatusCode,
    pub headers: HeaderMap,
    response: reqwest::Response,
    limits: StreamLimits,
    received: usize,
}

impl OutboundStream {
    pub(crate) fn new(mut response: reqwest::Response, limits: StreamLimits) -> Self {
        Self {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            response,
            limits,
            received: 0,
        }
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let next = self.response.chunk();
        let next = if self.received == 0 {
            next.await
        } else {
            let next = tokio::time::timeout(self.limits.idle, next).await;
            next.map_err(|_| OutboundError::TimedOut)?
        };
        let Some(chunk) = next.map_err(failure)? else {
            return Ok(None);
        };
        self.received += chunk.len();
        if self.received > self.limits.bytes {
            return Err(OutboundError::TooLarge(self.limits.bytes));
        }
        Ok(Some(chunk))
    }

    /// The pieces of the body, until its end or the first error.
    pub fn chunks(self) -> impl Stream<Item = Result<Bytes, OutboundError>> + Send {
        stream::try_unfold(self, async |mut reply| {
            let chunk = reply.chunk().await?;
            Ok(chunk.map(|chunk| (chunk, reply)))
        })
    }

    /// The rest of the body, which may have `limit` bytes.
    pub async fn collect(mut self, limit: usize) -> Result<OutboundResponse, OutboundError> {
        let told = self.response.content_length();
        if told.is_some_and(|length| length > limit as u64) {
            return Err(OutboundError::TooLarge(limit));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(OutboundError::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(OutboundResponse {
            status: self.status,
            headers: self.headers,
            body: body.freeze(),
        })
    }
}
