//! The response of a function: whole, or piece by piece.

use std::collections::VecDeque;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::stream::unfold;
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::error::{BootstrapError, FunctionError};

/// The most bytes of an event and of a buffered response.
pub(crate) const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024;

/// The most bytes of a streamed response.
const STREAM_LIMIT: usize = 200 * 1024 * 1024;
/// The number of pieces that may wait for the client. Beyond that the function waits.
const PIECES_WAITING: usize = 16;
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

/// A result that is no error.
pub(crate) enum InvocationResponse {
    Whole(Bytes),
    Streamed(ResponseStream),
}

impl InvocationResponse {
    /// The whole result, waited for.
    pub(crate) async fn collect(self) -> Result<Bytes, BootstrapError> {
        let mut pieces = match self {
            Self::Whole(bytes) => return Ok(bytes),
            Self::Streamed(pieces) => pieces,
        };
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            whole.extend_from_slice(&piece?);
            if whole.len() > PAYLOAD_LIMIT {
                return Err(BootstrapError::ResponseTooLarge);
            }
        }
        Ok(whole.freeze())
    }
}

/// The pieces of a streamed response, as they come.
pub(crate) struct ResponseStream {
    pushed_back: VecDeque<Bytes>,
    rest: mpsc::Receiver<Result<Bytes, BootstrapError>>,
}

impl ResponseStream {
    /// The pieces, and where they are to be put in.
    pub(super) fn new() -> (PieceSender, Self) {
        let (sender, rest) = mpsc::channel(PIECES_WAITING);
        let pieces = Self {
            pushed_back: VecDeque::new(),
            rest,
        };
        (PieceSender(sender), pieces)
    }

    /// These, and the end.
    #[cfg(test)]
    pub(crate) fn of(pieces: impl IntoIterator<Item = &'static [u8]>) -> Self {
        Self {
            pushed_back: pieces.into_iter().map(Bytes::from_static).collect(),
            ..Self::new().1
        }
    }

    /// The next piece, `None` after the last one. An error is the end too.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, BootstrapError>> {
        match self.pushed_back.pop_front() {
            Some(piece) => Some(Ok(piece)),
            None => self.rest.recv().await,
        }
    }

    /// Makes this piece the next one again.
    pub(crate) fn push_back(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pushed_back.push_front(piece);
        }
    }

    /// The rest as the body of a response. It breaks off where the function did.
    pub(crate) fn into_body(self) -> Body {
        Body::from_stream(unfold(self, |mut pieces| async move {
            let piece = pieces.next().await?;
            Some((piece, pieces))
        }))
    }
}

pub(super) struct PieceSender(mpsc::Sender<Result<Bytes, BootstrapError>>);

impl PieceSender {
    /// Passes a body on to its end. A client that has gone does not keep the function from going on, as in Lambda.
    pub(super) async fn pass_on(self, mut body: Body) -> Result<(), BootstrapError> {
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                drop(self.0.send(Err(BootstrapError::BrokenOff)).await);
                return Err(BootstrapError::BrokenOff);
            };
            match frame.into_data() {
                Ok(data) => {
                    length += data.len();
                    if length > STREAM_LIMIT {
                        drop(self.0.send(Err(BootstrapError::ResponseTooLarge)).await);
                        return Err(BootstrapError::ResponseTooLarge);
                    }
                    drop(self.0.send(Ok(data)).await);
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers()
                        && let Some(error) = trailing_error(&trailers)
                    {
                        drop(self.0.send(Err(BootstrapError::Function(error))).await);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The error that a function ran into after it had begun to answer.
fn trailing_error(trailers: &HeaderMap) -> Option<FunctionError> {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    let kind = trailers.get(ERROR_TYPE)?.to_str().ok()?.to_owned();
    let body = trailers.get(ERROR_BODY).map(|body| body.as_bytes());
    let body = BASE64_STANDARD
        .decode(body.unwrap_or_default())
        .unwrap_or_default();
    let message = match serde_json::from_slice::<FunctionError>(&body) {
        Ok(error) => error.message,
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    Some(FunctionError { kind, message })
}
