//! Converse in pieces, as Bedrock sends them: AWS's binary event streams.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use axum::body::Bytes;
use serde_json::{Value, json};

use super::{End, Script};

pub(super) fn pieces(script: &Script) -> Vec<Bytes> {
    let mut pieces = vec![event("messageStart", &json!({ "role": "assistant" }))];
    let mut index = 0;
    let mut block = |start: Option<Value>, deltas: &[Value]| {
        if let Some(start) = start {
            let start = json!({ "contentBlockIndex": index, "start": start });
            pieces.push(event("contentBlockStart", &start));
        }
        pieces.extend(deltas.iter().map(|delta| {
            let delta = json!({ "contentBlockIndex": index, "delta": delta });
            event("contentBlockDelta", &delta)
        }));
        let stop = json!({ "contentBlockIndex": index });
        pieces.push(event("contentBlockStop", &stop));
        index += 1;
    };
    if let Some(thought) = script.thought {
        let deltas = [
            json!({ "reasoningContent": { "text": thought } }),
            json!({ "reasoningContent": { "signature": "c2lnbmVk" } }),
        ];
        block(None, &deltas);
    }
    if !script.text.is_empty() {
        let deltas: Vec<_> = script
            .text
            .iter()
            .map(|text| json!({ "text": text }))
            .collect();
        block(None, &deltas);
    }
    for (number, (tool, arguments)) in script.calls.iter().enumerate() {
        let start =
            json!({ "toolUse": { "toolUseId": format!("tooluse_{number}"), "name": tool } });
        let (half, rest) = arguments.split_at(arguments.len() / 2);
        let delta = |part| json!({ "toolUse": { "input": part } });
        block(Some(start), &[delta(half), delta(rest)]);
    }
    let reason = match script.end {
        End::Finished if script.calls.is_empty() => "end_turn",
        End::Finished => "tool_use",
        End::Cut => "max_tokens",
        End::Declined => "guardrail_intervened",
        End::Overloaded => {
            let error = json!({ "message": "Overloaded" });
            pieces.push(frame("exception", "serviceUnavailableException", &error));
            return pieces;
        }
        End::Missing => return pieces,
    };
    pieces.push(event("messageStop", &json!({ "stopReason": reason })));
    let usage = json!({ "inputTokens": 1000, "outputTokens": 100, "totalTokens": 1100 });
    let metadata = json!({ "usage": usage, "metrics": { "latencyMs": 1 } });
    pieces.push(event("metadata", &metadata));
    pieces
}

/// More of the first block.
pub(super) fn more(text: &str) -> Bytes {
    let delta = json!({ "contentBlockIndex": 0, "delta": { "text": text } });
    event("contentBlockDelta", &delta)
}

fn event(kind: &str, payload: &Value) -> Bytes {
    frame("event", kind, payload)
}

fn frame(message_type: &str, kind: &str, payload: &Value) -> Bytes {
    let header =
        |name: String, value: &str| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let message = Message::new(payload.to_string())
        .add_header(header(":message-type".to_owned(), message_type))
        .add_header(header(format!(":{message_type}-type"), kind))
        .add_header(header(":content-type".to_owned(), "application/json"));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("a small message");
    bytes.into()
}
