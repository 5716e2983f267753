//! Anthropic's messages API.

mod stream;

use std::collections::HashMap;

use domain::model::{ModelName, Provider};
use domain::run::{ProviderContent, TokenUsage, ToolCall, ToolOutcome};
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::conversation::{NO_INPUT, count, outcome_text};
use crate::failure::unreadable;
use crate::{Message, ModelError, ModelRequest, ModelResponse, Stop, ToolSpec};

pub(crate) use stream::StreamAccumulator;

pub(crate) const BASE_URL: &str = "https://api.anthropic.com";
pub(crate) const PATH: &str = "/v1/messages";
/// The protocol's version, in the header `anthropic-version`.
pub(crate) const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The request's body.
pub(crate) fn body(model: &str, request: &ModelRequest) -> Value {
    let mut body = json!({
        "model": model,
        "max_tokens": request.max_output_tokens,
        "messages": messages(model, request),
        "stream": true,
    });
    if !request.instructions.is_empty() {
        body["system"] = json!(request.instructions);
    }
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    if let Some(schema) = &request.output_schema {
        body["output_config"] = json!({ "format": { "type": "json_schema", "schema": schema } });
    }
    body
}

fn tool(spec: &ToolSpec) -> Value {
    json!({
        "name": spec.name,
        "description": spec.description,
        "input_schema": spec.input_schema,
    })
}

/// Turns alternate between user and assistant; the results of an answer's calls are one turn of the user.
fn messages(model: &str, request: &ModelRequest) -> Vec<Value> {
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    // The ids that an answer which goes back verbatim has for our calls.
    let mut theirs: HashMap<&str, &str> = HashMap::new();
    for (position, message) in request.messages.iter().enumerate() {
        let (role, blocks) = match message {
            Message::User { text } => {
                let images: &[String] = if position == 0 { &request.images } else { &[] };
                ("user", user_blocks(text, images))
            }
            Message::Assistant {
                text,
                tool_calls,
                content,
            } => match verbatim(model, content.as_ref()) {
                Some(blocks) => {
                    let ids = blocks.iter().filter(|block| block["type"] == "tool_use");
                    let ids = ids.filter_map(|block| block["id"].as_str());
                    theirs.extend(tool_calls.iter().map(|call| call.id.as_str()).zip(ids));
                    ("assistant", blocks.iter().map(acceptable).collect())
                }
                None => ("assistant", assistant_blocks(text, tool_calls)),
            },
            Message::Tool {
                call_id, outcome, ..
            } => {
                let id = theirs.get(call_id.as_str()).copied().unwrap_or(call_id);
                ("user", vec![result_block(id, outcome)])
            }
        };
        match turns.last_mut() {
            Some((last, known)) if *last == role => known.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns
        .into_iter()
        .map(|(role, blocks)| json!({ "role": role, "content": blocks }))
        .collect()
}

fn user_blocks(text: &str, images: &[String]) -> Vec<Value> {
    let text = if text.is_empty() { NO_INPUT } else { text };
    let image = |image: &String| json!({ "type": "image", "source": image_source(image) });
    let mut blocks: Vec<Value> = images.iter().map(image).collect();
    blocks.push(json!({ "type": "text", "text": text }));
    blocks
}

fn image_source(image: &str) -> Value {
    let inline = image
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"));
    match inline {
        Some((media_type, data)) => {
            json!({ "type": "base64", "media_type": media_type, "data": data })
        }
        None => json!({ "type": "url", "url": image }),
    }
}

/// The blocks as this very model gave them: thinking is signed, and refused when anything of it is changed.
fn verbatim<'a>(model: &str, content: Option<&'a ProviderContent>) -> Option<&'a Vec<Value>> {
    let name = ModelName::Hosted {
        provider: Provider::Anthropic,
        model: model.to_owned(),
    };
    content
        .filter(|content| content.model == name)
        .and_then(|content| content.content.as_array())
}

/// A block that the API takes back: what it let a model send as arguments need not be an object.
fn acceptable(block: &Value) -> Value {
    let mut block = block.clone();
    if block["type"] == "tool_use" && !block["input"].is_object() {
        block["input"] = json!({ "invalid": block["input"] });
    }
    block
}

fn assistant_blocks(text: &str, tool_calls: &[ToolCall]) -> Vec<Value> {
    let mut blocks = Vec::new();
    if !text.is_empty() {
        blocks.push(json!({ "type": "text", "text": text }));
    }
    blocks.extend(tool_calls.iter().map(|call| {
        // The API takes objects alone; what else a model sent was an error, which its result says.
        let input = if call.arguments.is_object() {
            call.arguments.clone()
        } else {
            json!({ "invalid": call.arguments })
        };
        json!({ "type": "tool_use", "id": call.id, "name": call.tool, "input": input })
    }));
    blocks
}

fn result_block(id: &str, outcome: &ToolOutcome) -> Value {
    let mut block = json!({
        "type": "tool_result",
        "tool_use_id": id,
        "content": outcome_text(outcome),
    });
    if let ToolOutcome::Error(_) = outcome {
        block["is_error"] = json!(true);
    }
    block
}

#[derive(Deserialize)]
struct Reply {
    content: Vec<Value>,
    stop_reason: Option<String>,
    #[serde(default)]
    usage: Value,
}

/// The answer in a reply's body.
pub(crate) fn answer(name: &ModelName, body: Value) -> Result<ModelResponse, ModelError> {
    let Reply {
        content,
        stop_reason,
        usage,
    } = serde_json::from_value(body).map_err(|_| unreadable())?;
    let mut text = String::new();
    let mut tool_calls = Vec::new();
    let mut says_more = false;
    for block in &content {
        match block["type"].as_str() {
            Some("text") => text.push_str(block["text"].as_str().unwrap_or_default()),
            Some("tool_use") => tool_calls.push(tool_call(block).ok_or_else(unreadable)?),
            _ => says_more = true,
        }
    }
    Ok(ModelResponse {
        text,
        tool_calls,
        usage: TokenUsage {
            input: count(&usage, "input_tokens")
                + count(&usage, "cache_creation_input_tokens")
                + count(&usage, "cache_read_input_tokens"),
            output: count(&usage, "output_tokens"),
        },
        content: says_more.then(|| ProviderContent {
            model: name.clone(),
            content: Value::Array(content),
        }),
        stop: match stop_reason.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => Stop::Cut,
            Some("refusal") => Stop::Declined,
            _ => Stop::Finished,
        },
        ..ModelResponse::default()
    })
}

fn tool_call(block: &Value) -> Option<ToolCall> {
    Some(ToolCall {
        id: block["id"].as_str()?.to_owned(),
        tool: block["name"].as_str()?.to_owned(),
        arguments: block["input"].clone(),
    })
}
