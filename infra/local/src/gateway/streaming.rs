//! Responses that reach the client as they are made.

use std::io;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The end of a streamed response, finished or not.
pub(super) struct StreamEnd {
    /// The function's or the gateway's time-out: the response breaks off.
    pub(super) at: Instant,
    /// The platform ends: what is sent so far is all, and the client may come again.
    pub(super) stop: CancellationToken,
    /// The most bytes; the response breaks off before there are more.
    pub(super) limit: Option<u64>,
}

/// `body` until its end or this one. When its client has left it is dropped, and with it the work of making it.
pub(super) fn streamed(body: Body, end: StreamEnd) -> Body {
    let start = Some((body.into_data_stream(), end, 0));
    Body::from_stream(futures::stream::unfold(start, async |state| {
        let (mut stream, end, sent) = state?;
        let (piece, sent) = next_piece(&mut stream, &end, sent).await?;
        let rest = piece.is_ok().then_some((stream, end, sent));
        Some((piece, rest))
    }))
}

/// The next piece, and how much is sent with it.
async fn next_piece(
    stream: &mut BodyDataStream,
    end: &StreamEnd,
    sent: u64,
) -> Option<(io::Result<Bytes>, u64)> {
    let piece = tokio::select! {
        biased;
        () = end.stop.cancelled() => return None,
        () = sleep_until(end.at) => return Some((broken("the function ran into its timeout"), sent)),
        piece = stream.next() => piece?,
    };
    let Ok(piece) = piece else {
        return Some((broken("the response broke off"), sent));
    };
    let sent = sent + piece.len() as u64;
    if end.limit.is_some_and(|limit| sent > limit) {
        return Some((broken("the response is larger than may be streamed"), sent));
    }
    Some((Ok(piece), sent))
}

fn broken(why: &'static str) -> io::Result<Bytes> {
    tracing::error!(error = why, "streamed response broken off");
    Err(io::Error::other(why))
}
