//! Chat completions, in pieces and at once.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::{End, Script, Service};

pub(super) fn pieces(service: Service, script: &Script, asked: &Value) -> Vec<Bytes> {
    let mut pieces = vec![delta(&json!({ "role": "assistant", "content": "" }), None)];
    if let Some(thought) = script.thought {
        pieces.push(delta(&json!({ "reasoning_content": thought }), None));
    }
    pieces.extend(script.text.iter().map(|text| more(text)));
    let calls = service.calls(&script.calls).into_iter();
    pieces.extend(calls.map(|calls| delta(&json!({ "tool_calls": calls }), None)));
    let reason = match script.end {
        End::Finished if script.calls.is_empty() => "stop",
        End::Finished => "tool_calls",
        End::Cut => "length",
        End::Declined => {
            pieces.push(delta(&json!({ "refusal": "No." }), None));
            "stop"
        }
        End::Overloaded => {
            let error = json!({ "type": "server_error", "code": 503, "message": "Overloaded" });
            pieces.push(event(&json!({ "error": error })));
            return pieces;
        }
        End::Missing => return pieces,
    };
    pieces.push(delta(&json!({}), Some(reason)));
    if asked["stream_options"]["include_usage"] == true {
        pieces.push(event(
            &json!({ "object": "chat.completion.chunk", "choices": [], "usage": usage() }),
        ));
    }
    pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces
}

pub(super) fn more(text: &str) -> Bytes {
    delta(&json!({ "content": text }), None)
}

pub(super) fn finished_response(text: &str) -> Value {
    completion(&json!({ "role": "assistant", "content": text }))
}

/// The whole of what a script says.
pub(super) fn whole_of(script: &Script) -> Value {
    let call = |(tool, arguments): &(&str, String)| json!({ "id": null, "type": "function", "function": { "name": tool, "arguments": arguments } });
    let mut message = json!({ "role": "assistant", "content": script.text.concat() });
    if !script.calls.is_empty() {
        message["tool_calls"] = script.calls.iter().map(call).collect();
    }
    completion(&message)
}

fn completion(message: &Value) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": usage(),
    })
}

fn usage() -> Value {
    json!({ "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100 })
}

fn delta(delta: &Value, reason: Option<&str>) -> Bytes {
    event(&json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }],
    }))
}

fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}
