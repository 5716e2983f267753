//! A provider of models, which answers as it is told to, in pieces: chat completions, Anthropic's messages and Bedrock's Converse
//! on one address.

mod chat_completions;
mod converse;
mod messages;
mod service;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Hit, Server};

pub use service::Service;

/// The response to a request.
#[derive(Clone, Debug)]
pub enum Turn {
    /// A text, with 1,000 tokens read and 100 written.
    Text(String),
    /// Calls of tools, all in one answer, with reasoning before them.
    Calls(Vec<(&'static str, Value)>),
    /// A call whose arguments are no JSON.
    InvalidCall(&'static str),
    /// A text that was cut off at the output limit.
    Cut,
    /// The model will not answer.
    Declined,
    /// A text whose whole answer comes at once and not in pieces, as some services do that do not know of pieces. Not Bedrock's.
    AtOnce(String),
    /// An answer after so long.
    Slow(Duration),
    /// A text with so long before each of its pieces.
    Trickling(Duration, String),
    /// This status and `Retry-After`, with an error text that repeats the key it was asked with.
    Fails(u16, Option<&'static str>),
    /// Status 400 with this text.
    Refuses(&'static str),
    /// An error in the middle of an answer: too much to do.
    Overloaded,
    /// The beginning of an answer, then the connection breaks.
    Broken,
    /// The beginning of an answer, then nothing more.
    Unfinished,
    /// A text with the key that it was asked with in it, in two pieces.
    Echo,
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
    service: Service,
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
            .route("/model/{model}/converse-stream", post(answer))
            .with_state(stage.clone());
        Self {
            server: Server::start(router).await,
            stage,
        }
    }

    /// The base URL for each of the APIs.
    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// Adds to what the next requests are answered with.
    pub fn play(&self, turns: impl IntoIterator<Item = Turn>) {
        self.stage.lock().turns.extend(turns);
    }

    /// Speaks chat completions as this service does, from now on. What it refuses takes no turn.
    pub fn speak_like(&self, service: Service) {
        self.stage.lock().service = service;
    }

    /// The requests since this was last asked.
    pub fn take_hits(&self) -> Vec<Hit> {
        std::mem::take(&mut self.stage.lock().hits)
    }
}

/// The answer to a request, before it has the form of an API.
#[derive(Debug, Default)]
struct Script {
    /// A thought that comes first, with a signature.
    thought: Option<&'static str>,
    /// The pieces of the text.
    text: Vec<String>,
    /// Tools and the texts of their arguments.
    calls: Vec<(&'static str, String)>,
    end: End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Finished,
    Cut,
    Declined,
    /// With an error instead.
    Overloaded,
    /// Not at all.
    Missing,
}

impl Script {
    fn of(turn: &Turn, key: &str) -> Self {
        let says = |text: &str, end| Self {
            text: words(text),
            end,
            ..Self::default()
        };
        match turn {
            Turn::Text(text) | Turn::Trickling(_, text) => says(text, End::Finished),
            Turn::Slow(_) => says("At last.", End::Finished),
            Turn::Cut => says("on and on and", End::Cut),
            Turn::Declined => says("", End::Declined),
            Turn::Overloaded => says("I was about to", End::Overloaded),
            Turn::Broken | Turn::Unfinished => says("I was about to", End::Missing),
            Turn::Endless => says("on and on ", End::Missing),
            Turn::Echo => {
                let (half, rest) = key.split_at(key.len() / 2);
                Self {
                    text: vec![format!("You said {half}"), format!("{rest}.")],
                    ..Self::default()
                }
            }
            Turn::Calls(calls) => Self {
                thought: Some("A tool knows."),
                calls: calls
                    .iter()
                    .map(|(tool, arguments)| (*tool, arguments.to_string()))
                    .collect(),
                ..Self::default()
            },
            Turn::InvalidCall(tool) => Self {
                calls: vec![(*tool, "{\"location\": \"New Y".to_owned())],
                ..Self::default()
            },
            Turn::AtOnce(_) | Turn::Fails(..) | Turn::Refuses(_) | Turn::NotJson => Self::default(),
        }
    }
}

/// A text word by word; a long one in larger pieces, since its words one by one would take too long.
fn words(text: &str) -> Vec<String> {
    let least = text.len() / 100;
    let mut pieces: Vec<String> = Vec::new();
    for word in text.split_inclusive(' ') {
        match pieces.last_mut() {
            Some(piece) if piece.len() < least => piece.push_str(word),
            _ => pieces.push(word.to_owned()),
        }
    }
    pieces
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    ChatCompletions,
    Messages,
    Converse,
}

impl Api {
    fn of(path: &str) -> Self {
        match path {
            "/chat/completions" => Self::ChatCompletions,
            "/v1/messages" => Self::Messages,
            _ => Self::Converse,
        }
    }

    /// The key of a request, or nothing.
    fn key(self, headers: &HeaderMap) -> String {
        let name = if self == Self::Messages {
            "x-api-key"
        } else {
            "authorization"
        };
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        let value = value.unwrap_or_default();
        value.strip_prefix("Bearer ").unwrap_or(value).to_owned()
    }

    fn content_type(self, service: Service) -> &'static str {
        match self {
            Self::ChatCompletions => service.content_type(),
            Self::Messages => "text/event-stream; charset=utf-8",
            Self::Converse => "application/vnd.amazon.eventstream",
        }
    }

    /// The pieces of an answer as they go over the wire.
    fn pieces(self, service: Service, script: &Script, asked: &Value) -> Vec<Bytes> {
        match self {
            Self::ChatCompletions => chat_completions::pieces(service, script, asked),
            Self::Messages => messages::pieces(script),
            Self::Converse => converse::pieces(script),
        }
    }

    /// One more piece of a text.
    fn more(self, text: &str) -> Bytes {
        match self {
            Self::ChatCompletions => chat_completions::more(text),
            Self::Messages => messages::more(text),
            Self::Converse => converse::more(text),
        }
    }
}

async fn answer(
    State(stage): State<Stage>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let api = Api::of(uri.path());
    let key = api.key(&headers);
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (service, turn) = {
        let mut played = stage.lock();
        played.hits.push(Hit {
            method,
            path: uri.path().to_owned(),
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        });
        let service = played.service;
        if api == Api::ChatCompletions
            && let Some((status, body)) = service.refuses(&asked)
        {
            return (status, Json(body)).into_response();
        }
        (service, played.turns.pop_front())
    };
    let turn = turn.unwrap_or_else(|| Turn::Text("Done.".to_owned()));
    match &turn {
        Turn::Fails(status, wait) => {
            return failure(api, *status, *wait, &format!("not with {key}"));
        }
        Turn::Refuses(told) => return failure(api, 400, None, told),
        Turn::AtOnce(text) if api == Api::ChatCompletions => {
            return Json(chat_completions::finished_response(text)).into_response();
        }
        Turn::AtOnce(text) => return Json(messages::finished_response(text)).into_response(),
        Turn::NotJson => return "<html>Bad gateway</html>".into_response(),
        Turn::Slow(time) => tokio::time::sleep(*time).await,
        _ => {}
    }
    let delay = match &turn {
        Turn::Trickling(time, _) => *time,
        _ => Duration::ZERO,
    };
    let script = Script::of(&turn, &key);
    if api == Api::ChatCompletions && service.answers_at_once() {
        let body = chat_completions::whole_of(&script).to_string();
        return ([(header::CONTENT_TYPE, service.content_type())], body).into_response();
    }
    let pieces = api.pieces(service, &script, &asked);
    let pieces = stream::iter(pieces).then(move |piece| async move {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(piece)
    });
    let body = match turn {
        Turn::Broken => {
            let breaks = stream::once(async {
                // What was written before is on its way by then.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(io::Error::other("broken"))
            });
            Body::from_stream(pieces.chain(breaks))
        }
        Turn::Endless => {
            let more = api.more(&"on and on ".repeat(6_000));
            Body::from_stream(pieces.chain(stream::repeat_with(move || Ok(more.clone()))))
        }
        _ => Body::from_stream(pieces),
    };
    ([(header::CONTENT_TYPE, api.content_type(service))], body).into_response()
}

fn failure(api: Api, status: u16, wait: Option<&'static str>, told: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let error = match api {
        Api::Converse => json!({ "message": told }),
        _ => json!({ "error": { "message": told } }),
    };
    let mut response = (status, Json(error)).into_response();
    if let Some(wait) = wait {
        let wait = wait.parse().expect("a header's value");
        response.headers_mut().insert("retry-after", wait);
    }
    response
}
