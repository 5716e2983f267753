//! Answers that come in server-sent events.

use std::future::ready;
use std::pin::pin;

use bytes::Bytes;
use domain::payload;
use futures::{Stream, StreamExt, stream};
use outbound::OutboundError;
use serde_json::Value;
use sse_stream::{Error, SseByteStream};

use crate::ModelError;
use crate::failure::{broken_off, in_the_middle, unreadable};
use crate::redact::RedactingSink;

/// Puts the body together that a provider would have sent at once, from the events that it sends instead.
pub(crate) trait Assembly {
    /// Takes the next event, and says what text is in it.
    fn take(&mut self, event: Value, sink: &mut RedactingSink<'_>) -> Result<(), Fault>;

    /// Returns `true` if the answer has its end.
    fn is_complete(&self) -> bool;

    fn body(self) -> Value;
}

/// The reason why an event cannot be taken.
pub(crate) enum Fault {
    /// It is an error of the provider.
    Told(Value),
    Unfit(ModelError),
}

impl From<ModelError> for Fault {
    fn from(error: ModelError) -> Self {
        Self::Unfit(error)
    }
}

/// Reads a stream to its end.
pub(crate) async fn read<A: Assembly>(
    chunks: impl Stream<Item = Result<Bytes, OutboundError>> + Send,
    mut assembly: A,
    sink: &mut RedactingSink<'_>,
) -> Result<Value, ModelError> {
    // Some services leave out the blank line that belongs behind the last event.
    let end = stream::once(ready(Ok(Bytes::from_static(b"\n\n"))));
    let mut events = pin!(SseByteStream::new(chunks.chain(end)));
    let mut is_readable = false;
    while let Some(event) = events.next().await {
        let data = match event {
            Ok(event) => event.data.unwrap_or_default(),
            // Nothing is missing.
            Err(_) if assembly.is_complete() => break,
            Err(error) => return Err(failure(error)),
        };
        match data.trim() {
            "" => continue,
            "[DONE]" if is_readable => return Ok(assembly.body()),
            _ => {}
        }
        let event = payload::read(data.as_bytes()).map_err(|_| unreadable())?;
        match assembly.take(event, sink) {
            Ok(()) => {}
            Err(Fault::Told(mut error)) => {
                // Before it is cut to size, which might leave a piece of the key.
                sink.hide(&mut error);
                return Err(in_the_middle(&error));
            }
            Err(Fault::Unfit(error)) => return Err(error),
        }
        is_readable = true;
    }
    match (assembly.is_complete(), is_readable) {
        (true, _) => Ok(assembly.body()),
        (false, true) => Err(broken_off()),
        (false, false) => Err(unreadable()),
    }
}

/// The value of an event at this place; null when there is nothing.
pub(crate) fn taken(event: &mut Value, place: &str) -> Value {
    event
        .pointer_mut(place)
        .map(Value::take)
        .unwrap_or_default()
}

fn failure(error: Error) -> ModelError {
    match error {
        Error::Body(cause) => match cause.downcast::<OutboundError>() {
            Ok(error) => (*error).into(),
            Err(_) => broken_off(),
        },
        _ => unreadable(),
    }
}
