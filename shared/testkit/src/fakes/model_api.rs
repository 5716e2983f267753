//! A provider of models, which answers as it is told to: chat completions and Anthropic's messages on one address.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use futures::stream;
use serde_json::{Value, json};

use super::{Hit, Server};

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Turn {
    /// A text, with 1,000 tokens read and 100 written.
    Text(String),
    /// Calls of tools, all in one answer, with reasoning before them.
    Calls(Vec<(&'static str, Value)>),
    /// A call whose arguments are no JSON. Anthropic's API has no such thing: there they are no object.
    InvalidCall(&'static str),
    /// A text that was cut off at the output limit.
    Cut,
    /// The model will not answer.
    Declined,
    /// An answer after so long.
    Slow(Duration),
    /// This status and `Retry-After`, with an error text that repeats the key it was asked with.
    Fails(u16, Option<&'static str>),
    /// The beginning of an answer, then the connection breaks.
    Broken,
    /// A web page.
    NotJson,
    /// A text that never ends.
    Endless,
}

/// A server that plays the turns that it is given, one for each request, and then answers `Done.`.
#[derive(Debug)]
pub struct ModelApi {
    server: Server,
    stage: Stage,
}

#[derive(Clone, Debug, Default)]
struct Stage(Arc<Mutex<Played>>);

#[derive(Debug, Default)]
struct Played {
    turns: VecDeque<Turn>,
    hits: Vec<Hit>,
}

impl Stage {
    fn lock(&self) -> MutexGuard<'_, Played> {
        self.0.lock().expect("no test panics with it")
    }
}

impl ModelApi {
    pub async fn start() -> Self {
        let stage = Stage::default();
        let router = Router::new()
            .route("/chat/completions", post(answer))
            .route("/v1/messages", post(answer))
            .with_state(stage.clone());
        Self {
            server: Server::start(router).await,
            stage,
        }
    }

    /// The base URL for either API.
    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// Adds to what the next requests are answered with.
    pub fn play(&self, turns: impl IntoIterator<Item = Turn>) {
        self.stage.lock().turns.extend(turns);
    }

    /// What arrived since this was last asked.
    pub fn take_hits(&self) -> Vec<Hit> {
        std::mem::take(&mut self.stage.lock().hits)
    }
}

async fn answer(
    State(stage): State<Stage>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let is_anthropic = uri.path() == "/v1/messages";
    let key_header = if is_anthropic {
        "x-api-key"
    } else {
        "authorization"
    };
    let key = headers.get(key_header).map(|key| format!("{key:?}"));
    let key = key.unwrap_or_default();
    let turn = {
        let mut played = stage.lock();
        played.hits.push(Hit {
            method,
            path: uri.path().to_owned(),
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        });
        played.turns.pop_front()
    };
    let turn = turn.unwrap_or_else(|| Turn::Text("Done.".to_owned()));
    if let Turn::Slow(time) = turn {
        tokio::time::sleep(time).await;
    }
    let answer = if is_anthropic { message } else { completion };
    match turn {
        Turn::Fails(status, wait) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let error = json!({ "error": { "message": format!("not with {key}") } });
            let mut response = (status, Json(error)).into_response();
            if let Some(wait) = wait {
                let wait = wait.parse().expect("a header's value");
                response.headers_mut().insert("retry-after", wait);
            }
            response
        }
        Turn::Broken => {
            let pieces = [
                Ok(Bytes::from_static(b"{\"choices\":[{\"mess")),
                Err(io::Error::other("broken")),
            ];
            Body::from_stream(stream::iter(pieces)).into_response()
        }
        Turn::NotJson => "<html>Bad gateway</html>".into_response(),
        Turn::Endless => {
            let piece = || Ok::<_, io::Error>(Bytes::from_static(&[b' '; 4096]));
            Body::from_stream(stream::repeat_with(piece)).into_response()
        }
        turn => Json(answer(&turn)).into_response(),
    }
}

/// A turn as a chat completion.
fn completion(turn: &Turn) -> Value {
    let call = |(index, (tool, arguments)): (usize, &(&str, String))| {
        let function = json!({ "name": tool, "arguments": arguments });
        json!({ "id": format!("call_{index}"), "type": "function", "function": function })
    };
    let calls: Vec<(&str, String)> = match turn {
        Turn::Calls(calls) => calls
            .iter()
            .map(|(tool, arguments)| (*tool, arguments.to_string()))
            .collect(),
        Turn::InvalidCall(tool) => vec![(*tool, "{\"location\": \"New Y".to_owned())],
        _ => Vec::new(),
    };
    let mut message = json!({ "role": "assistant", "content": text_of(turn) });
    if !calls.is_empty() {
        message["tool_calls"] = calls.iter().enumerate().map(call).collect();
    }
    let mut reason = "stop";
    match turn {
        Turn::Calls(_) => {
            message["reasoning_content"] = json!("A tool knows.");
            reason = "tool_calls";
        }
        Turn::Declined => message["refusal"] = json!("No."),
        Turn::Cut => reason = "length",
        _ => {}
    }
    json!({
        "id": "chatcmpl-1", "object": "chat.completion",
        "choices": [{ "index": 0, "message": message, "finish_reason": reason }],
        "usage": { "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100 },
    })
}

/// A turn as one of Anthropic's messages.
fn message(turn: &Turn) -> Value {
    let mut content = Vec::new();
    let (mut calls, mut reason) = (Vec::new(), "end_turn");
    match turn {
        Turn::Calls(wanted) => {
            content.push(
                json!({ "type": "thinking", "thinking": "A tool knows.", "signature": "c2lnbmVk" }),
            );
            calls.clone_from(wanted);
            reason = "tool_use";
        }
        Turn::InvalidCall(tool) => {
            calls.push((*tool, json!("New Y")));
            reason = "tool_use";
        }
        Turn::Cut => reason = "max_tokens",
        Turn::Declined => reason = "refusal",
        _ => {}
    }
    if let Some(text) = text_of(turn).as_str() {
        content.push(json!({ "type": "text", "text": text }));
    }
    content.extend(calls.iter().enumerate().map(|(index, (tool, input))| {
        json!({ "type": "tool_use", "id": format!("toolu_{index}"), "name": tool, "input": input })
    }));
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "content": content, "stop_reason": reason,
        "usage": { "input_tokens": 1000, "output_tokens": 100 },
    })
}

fn text_of(turn: &Turn) -> Value {
    match turn {
        Turn::Text(text) => json!(text),
        Turn::Cut => json!("on and on and"),
        Turn::Slow(_) => json!("At last."),
        _ => Value::Null,
    }
}
