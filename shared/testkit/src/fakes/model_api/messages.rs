//! Messages in pieces, as Anthropic sends them.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::{End, Script};

pub(super) fn pieces(script: &Script) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut index = 0;
    let mut block = |start: &Value, deltas: &[Value]| {
        pieces.push(event(
            &json!({ "type": "content_block_start", "index": index, "content_block": start }),
        ));
        pieces.extend(deltas.iter().map(|delta| {
            event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }))
        }));
        let stop = json!({ "type": "content_block_stop", "index": index });
        pieces.push(event(&stop));
        index += 1;
    };
    if let Some(thought) = script.thought {
        block(
            &json!({ "type": "thinking", "thinking": "", "signature": "" }),
            &[
                json!({ "type": "thinking_delta", "thinking": thought }),
                json!({ "type": "signature_delta", "signature": "c2lnbmVk" }),
            ],
        );
    }
    if !script.text.is_empty() {
        let text = script.text.iter();
        let deltas: Vec<_> = text
            .map(|text| json!({ "type": "text_delta", "text": text }))
            .collect();
        block(&json!({ "type": "text", "text": "" }), &deltas);
    }
    for (number, (tool, arguments)) in script.calls.iter().enumerate() {
        let start = json!({ "type": "tool_use", "id": format!("toolu_{number}"), "name": tool, "input": {} });
        let (half, rest) = arguments.split_at(arguments.len() / 2);
        let delta = |part| json!({ "type": "input_json_delta", "partial_json": part });
        block(&start, &[delta(half), delta(rest)]);
    }
    let usage = json!({ "input_tokens": 1000, "output_tokens": 1 });
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": usage });
    let start = json!({ "type": "message_start", "message": message });
    pieces.splice(0..0, [event(&start), event(&json!({ "type": "ping" }))]);
    let reason = match script.end {
        End::Finished if script.calls.is_empty() => "end_turn",
        End::Finished => "tool_use",
        End::Cut => "max_tokens",
        End::Declined => "refusal",
        End::Overloaded => {
            let error = json!({ "type": "overloaded_error", "message": "Overloaded" });
            pieces.push(event(&json!({ "type": "error", "error": error })));
            return pieces;
        }
        End::Missing => return pieces,
    };
    pieces.push(event(&json!({
        "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": { "output_tokens": 100 },
    })));
    pieces.push(event(&json!({ "type": "message_stop" })));
    pieces
}

/// More of the first block.
pub(super) fn more(text: &str) -> Bytes {
    let delta = json!({ "type": "text_delta", "text": text });
    event(&json!({ "type": "content_block_delta", "index": 0, "delta": delta }))
}

pub(super) fn finished_response(text: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "stop_reason": "end_turn",
        "content": [{ "type": "text", "text": text }],
        "usage": { "input_tokens": 1000, "output_tokens": 100 },
    })
}

fn event(data: &Value) -> Bytes {
    let kind = data["type"].as_str().unwrap_or_default();
    format!("event: {kind}\ndata: {data}\n\n").into()
}
