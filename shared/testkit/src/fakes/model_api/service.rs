//! Services that speak chat completions, each in its own way, as their users report it.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// The service whose chat completions a [`super::ModelApi`] speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// OpenAI, which takes and says everything.
    #[default]
    OpenAi,
    /// Refuses the old name of the output limit.
    AzureOpenAi,
    /// Refuses members that it does not know, with 422, and streams whole calls with ids that are no ids.
    Mistral,
    /// Knows no schemas.
    DeepSeek,
    /// Refuses a schema beside tools, in a list of errors, and gives all calls the same index.
    Gemini,
    /// Streams whole calls, all in one piece, without index and id.
    OldOllama,
    /// Streams calls one after the other without index and id, repeats names, and has its own words for content types.
    LlamaCpp,
    /// Knows neither streams nor limits nor schemas, and answers at once.
    Minimal,
}

impl Service {
    /// The refusal of a request, with its status.
    pub(super) fn refuses(self, asked: &Value) -> Option<(StatusCode, Value)> {
        let has = |name: &str| !asked[name].is_null();
        let bad = |body| Some((StatusCode::BAD_REQUEST, body));
        let unrecognized = |name: &str| {
            bad(json!({ "error": {
                "message": format!("Unrecognized request argument supplied: {name}"),
                "type": "invalid_request_error", "param": null, "code": null,
            }}))
        };
        match self {
            Self::AzureOpenAi if has("max_tokens") => bad(json!({ "error": {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
            }})),
            Self::Mistral if has("stream_options") => {
                let fault = json!({
                    "type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted",
                    "input": asked["stream_options"],
                });
                let body = json!({ "object": "error", "message": { "detail": [fault] }, "type": "invalid_request_error" });
                Some((StatusCode::UNPROCESSABLE_ENTITY, body))
            }
            Self::DeepSeek if has("response_format") => bad(json!({ "error": {
                "message": "This response_format type is unavailable now",
                "type": "invalid_request_error", "param": null, "code": "invalid_request_error",
            }})),
            Self::Gemini if has("response_format") && has("tools") => bad(json!([{ "error": {
                "code": 400, "status": "INVALID_ARGUMENT",
                "message": "Function calling with a response mime type: 'application/json' is unsupported",
            }}])),
            Self::Minimal => [
                "response_format",
                "max_tokens",
                "max_completion_tokens",
                "stream_options",
                "stream",
            ]
            .into_iter()
            .find(|name| has(name))
            .and_then(unrecognized),
            _ => None,
        }
    }

    /// The pieces of calls as they are streamed: lists of `tool_calls`.
    pub(super) fn calls(self, calls: &[(&'static str, String)]) -> Vec<Value> {
        let whole = |(tool, arguments): &(&str, String)| json!({ "type": "function", "function": { "name": tool, "arguments": arguments } });
        let one_by_one = |id: Value| {
            let placed = |call| {
                let mut call = whole(call);
                call["index"] = json!(0);
                call["id"] = id.clone();
                json!([call])
            };
            calls.iter().map(placed).collect()
        };
        match self {
            Self::Mistral => one_by_one(json!("null")),
            Self::Gemini => one_by_one(json!("")),
            Self::OldOllama if calls.is_empty() => Vec::new(),
            Self::OldOllama => vec![calls.iter().map(whole).collect()],
            Self::LlamaCpp => calls
                .iter()
                .flat_map(halves)
                .map(|half| json!([half]))
                .collect(),
            _ => calls
                .iter()
                .enumerate()
                .flat_map(with_ids)
                .map(|piece| json!([piece]))
                .collect(),
        }
    }

    /// Returns `true` if the whole answer comes at once, whatever was asked.
    pub(super) fn answers_at_once(self) -> bool {
        self == Self::Minimal
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::LlamaCpp => "Text/Event-Stream",
            Self::OldOllama => "application/octet-stream",
            Self::Minimal => "Application/JSON; Charset=UTF-8",
            _ => "text/event-stream; charset=utf-8",
        }
    }
}

/// A call whose name and arguments come in two pieces each.
fn halves((tool, arguments): &(&'static str, String)) -> [Value; 2] {
    let (half, rest) = arguments.split_at(arguments.len() / 2);
    let piece = |part| json!({ "function": { "name": tool, "arguments": part } });
    [piece(half), piece(rest)]
}

/// A call as OpenAI streams it.
fn with_ids((index, (tool, arguments)): (usize, &(&'static str, String))) -> [Value; 3] {
    let (half, rest) = arguments.split_at(arguments.len() / 2);
    let more = |part| json!({ "index": index, "function": { "arguments": part } });
    [
        json!({ "index": index, "id": format!("call_{index}"), "type": "function", "function": { "name": tool, "arguments": "" } }),
        more(half),
        more(rest),
    ]
}
