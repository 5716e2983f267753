//! Chat completions: OpenAI's own, and the tolerant subset of it that other services understand.

mod stream;

use domain::model::ModelName;
use domain::payload;
use domain::run::{ProviderContent, TokenUsage, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::conversation::{NO_INPUT, count, outcome_text};
use crate::failure::unreadable;
use crate::unsupported::{Member, Unsupported};
use crate::{Message, ModelError, ModelRequest, ModelResponse, Stop, ToolSpec};

pub(crate) use stream::StreamAccumulator;

pub(crate) const BASE_URL: &str = "https://api.openai.com/v1";
pub(crate) const PATH: &str = "/chat/completions";

/// The members of a message that text and calls say already.
const KNOWN: [&str; 3] = ["role", "content", "tool_calls"];
/// The members of a call that a [`ToolCall`] says already.
const KNOWN_OF_CALL: [&str; 4] = ["index", "id", "type", "function"];

/// The request's body, less the members that the service is known to refuse. Services other than OpenAI are first asked with the
/// old name of the output limit. A format that is refused must be in the instructions already.
pub(crate) fn body(
    model: &str,
    request: &ModelRequest,
    is_openai: bool,
    without: &Unsupported,
) -> Value {
    let mut body = json!({ "model": model, "messages": messages(model, request) });
    let mut limits = [Member::MaxTokens, Member::MaxCompletionTokens];
    if is_openai {
        limits.reverse();
    }
    if let Some(limit) = limits.into_iter().find(|limit| !without.has(*limit)) {
        body[limit.as_str()] = json!(request.max_output_tokens);
    }
    if !without.has(Member::Stream) {
        body["stream"] = json!(true);
        if !without.has(Member::StreamOptions) {
            body["stream_options"] = json!({ "include_usage": true });
        }
    }
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    if let Some(schema) = &request.output_schema {
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": { "name": "output", "schema": schema },
        });
    }
    body
}

fn tool(spec: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.input_schema,
        },
    })
}

fn messages(model: &str, request: &ModelRequest) -> Vec<Value> {
    let mut messages = Vec::new();
    if !request.instructions.is_empty() {
        messages.push(json!({ "role": "system", "content": request.instructions }));
    }
    // The ids that an answer which goes back verbatim has for our calls.
    let mut theirs: Map<String, Value> = Map::new();
    for (position, message) in request.messages.iter().enumerate() {
        messages.push(match message {
            Message::User { text } => {
                let text = if text.is_empty() { NO_INPUT } else { text };
                let images: &[String] = if position == 0 { &request.images } else { &[] };
                json!({ "role": "user", "content": user_content(text, images) })
            }
            Message::Assistant {
                text,
                tool_calls,
                content,
            } => match verbatim(model, content.as_ref()) {
                Some(message) => {
                    let mut message = message.clone();
                    let calls = message["tool_calls"].as_array_mut().into_iter().flatten();
                    theirs.extend(identified(tool_calls, calls));
                    message
                }
                None => assistant(text, tool_calls),
            },
            Message::Tool {
                call_id, outcome, ..
            } => json!({
                "role": "tool",
                "tool_call_id": theirs.get(call_id).unwrap_or(&json!(call_id)),
                "content": outcome_text(outcome),
            }),
        });
    }
    messages
}

fn user_content(text: &str, images: &[String]) -> Value {
    if images.is_empty() {
        return json!(text);
    }
    let mut parts = vec![json!({ "type": "text", "text": text })];
    parts.extend(
        images
            .iter()
            .map(|image| json!({ "type": "image_url", "image_url": { "url": image } })),
    );
    json!(parts)
}

/// The message as this very model gave it.
fn verbatim<'a>(model: &str, content: Option<&'a ProviderContent>) -> Option<&'a Value> {
    let is_ours = |name: &ModelName| *name == own_name(model);
    content
        .filter(|content| is_ours(&content.model))
        .map(|content| &content.content)
}

/// Their ids for our calls, in the order of both. Calls that have none, or one that another has too, get ours.
fn identified<'a>(
    ours: &'a [ToolCall],
    theirs: impl Iterator<Item = &'a mut Value>,
) -> Vec<(String, Value)> {
    let mut ids: Vec<(String, Value)> = Vec::new();
    for (call, given) in ours.iter().zip(theirs) {
        let id = given["id"].as_str().unwrap_or_default();
        let is_taken = ids.iter().any(|(_, taken)| taken == id);
        if id_of(id).is_empty() || is_taken {
            given["id"] = json!(call.id);
        }
        ids.push((call.id.clone(), given["id"].clone()));
    }
    ids
}

/// An id as a service gives it; empty where it only looks like one.
fn id_of(text: &str) -> &str {
    // Mistral sends the text `null`; others send Python's `None`.
    if ["null", "None"].contains(&text) {
        ""
    } else {
        text
    }
}

fn own_name(model: &str) -> ModelName {
    ModelName::Hosted {
        provider: domain::model::Provider::OpenAi,
        model: model.to_owned(),
    }
}

fn assistant(text: &str, tool_calls: &[ToolCall]) -> Value {
    let mut message = json!({ "role": "assistant", "content": text });
    if !tool_calls.is_empty() {
        if text.is_empty() {
            message["content"] = Value::Null;
        }
        let call = |call: &ToolCall| {
            json!({
                "id": call.id,
                "type": "function",
                "function": { "name": call.tool, "arguments": call.arguments.to_string() },
            })
        };
        message["tool_calls"] = tool_calls.iter().map(call).collect();
    }
    message
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct Choice {
    message: Map<String, Value>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// The answer in a reply's body.
pub(crate) fn answer(name: &ModelName, body: Value) -> Result<ModelResponse, ModelError> {
    let Completion { choices, usage } = serde_json::from_value(body).map_err(|_| unreadable())?;
    let Choice {
        mut message,
        finish_reason,
    } = choices.into_iter().next().ok_or_else(unreadable)?;
    message.retain(|_, value| !value.is_null());
    let calls = message.get("tool_calls").cloned().unwrap_or(json!([]));
    let calls: Vec<Call> = serde_json::from_value(calls).map_err(|_| unreadable())?;
    let stop = match finish_reason.as_deref() {
        Some("length") => Stop::Cut,
        Some("content_filter") => Stop::Declined,
        _ if message.contains_key("refusal") => Stop::Declined,
        _ => Stop::Finished,
    };
    let text = text_of(message.get("content"));
    let given = message.get("tool_calls").and_then(Value::as_array);
    let mut given = given.into_iter().flatten().filter_map(Value::as_object);
    let says_more =
        has_other_keys(&message, &KNOWN) || given.any(|call| has_other_keys(call, &KNOWN_OF_CALL));
    Ok(ModelResponse {
        text,
        tool_calls: calls.into_iter().map(tool_call).collect(),
        usage: TokenUsage {
            input: count(&usage, "prompt_tokens"),
            output: count(&usage, "completion_tokens"),
        },
        content: says_more.then(|| ProviderContent {
            model: name.clone(),
            content: Value::Object(message),
        }),
        stop,
        ..ModelResponse::default()
    })
}

fn has_other_keys(object: &Map<String, Value>, known: &[&str]) -> bool {
    object.keys().any(|key| !known.contains(&key.as_str()))
}

/// A text, or the texts of its parts.
fn text_of(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

fn tool_call(call: Call) -> ToolCall {
    let arguments = match call.function.arguments {
        Value::String(text) if text.trim().is_empty() => json!({}),
        Value::String(text) => payload::read_or_text(text),
        Value::Null => json!({}),
        // Some services do not wrap them in a text.
        other => payload::kept(other),
    };
    let id = call.id.unwrap_or_default();
    ToolCall {
        id: id_of(&id).to_owned(),
        tool: call.function.name,
        arguments,
    }
}
