//! A small system: functions that show what reaches them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, OriginalUri};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::{any, get, post};
use lambda_http::request::RequestContext;
use local::{Options, Platform, Registry};
use runtime::{Lambda, Services};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) const TEMPLATE: &str = include_str!("fixture.yaml");

/// The time that a test waits for what should happen at once. Only a failing test waits that long.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(10);

/// The events that functions saw, in their order.
pub(crate) struct Seen {
    pub(crate) batches: UnboundedReceiver<SqsEvent>,
    pub(crate) dead: UnboundedReceiver<SqsEvent>,
    pub(crate) ticks: UnboundedReceiver<Value>,
    /// Streams without a reader.
    pub(crate) dropped: UnboundedReceiver<()>,
}

/// Functions that report what they see. The worker fails messages whose body begins with `bad`, panics on `panic` and
/// takes as long as the body says in milliseconds if it is a number.
pub(crate) fn functions() -> (Registry, Seen) {
    let (batches, seen_batches) = unbounded_channel();
    let (dead, seen_dead) = unbounded_channel();
    let (ticks, seen_ticks) = unbounded_channel();
    let (dropped, seen_dropped) = unbounded_channel();
    let registry = Registry::default()
        .with("echo", |services: Services| async move {
            Ok(Lambda::Http(echo("echo", services)))
        })
        .with("other", |services: Services| async move {
            Ok(Lambda::Http(echo("other", services)))
        })
        .with("loud", |services: Services| async move {
            Ok(Lambda::Http(echo("loud", services)))
        })
        .with("stream", move |_| {
            let dropped = dropped.clone();
            async move { Ok(Lambda::Stream(streams(dropped))) }
        })
        .with("worker", move |_| worker(batches.clone()))
        .with("dead-letters", move |_| dead_letters(dead.clone()))
        .with("tick", move |_| {
            let ticks = ticks.clone();
            async move {
                Ok(Lambda::event(move |event, _| {
                    let sent = ticks.send(event);
                    async move {
                        if sent.is_ok() {
                            Ok(json!("ticked"))
                        } else {
                            Err("no listener".into())
                        }
                    }
                }))
            }
        });
    (
        registry,
        Seen {
            batches: seen_batches,
            dead: seen_dead,
            ticks: seen_ticks,
            dropped: seen_dropped,
        },
    )
}

fn echo(function: &'static str, services: Services) -> Router {
    let services = Arc::new(services);
    let show = move |method: Method,
                     OriginalUri(uri): OriginalUri,
                     Extension(context): Extension<RequestContext>,
                     headers: HeaderMap| {
        let services = services.clone();
        async move {
            let RequestContext::ApiGatewayV1(context) = context else {
                return StatusCode::IM_A_TEAPOT.to_string();
            };
            let secret = services
                .secrets
                .master_keys()
                .await
                .map(|keys| keys.current.secret.len())
                .unwrap_or_default();
            let forwarded = headers.get("x-forwarded-for").is_some();
            json!({ "function": function, "method": method.as_str(), "uri": uri.to_string(), "context": context, "secret": secret, "forwarded": forwarded })
                .to_string()
        }
    };
    Router::new()
        .route("/slow", get(|| tokio::time::sleep(Duration::from_secs(60))))
        .route(
            "/panic",
            post(async || -> StatusCode { panic!("as the test wants") }),
        )
        .route("/body", post(async |body: Bytes| body.len().to_string()))
        .route("/large", get(async || "x".repeat(200_000)))
        .fallback(any(show))
        .layer(DefaultBodyLimit::disable())
}

/// `endless` sends one piece and then nothing more, without an end; `large` sends 100 pieces of 1000 bytes.
fn streams(dropped: UnboundedSender<()>) -> Router {
    let endless = async move || {
        let guard = ToldWhenDropped(dropped);
        let pieces = futures::stream::unfold((guard, "first"), async |(guard, piece)| {
            if piece.is_empty() {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>(piece), (guard, "")))
        });
        Body::from_stream(pieces)
    };
    let large = async || {
        let pieces = (0..100).map(|_| Ok::<_, std::io::Error>("x".repeat(1000)));
        Body::from_stream(futures::stream::iter(pieces))
    };
    Router::new()
        .route("/streams/endless", get(endless))
        .route("/streams/large", get(large))
}

struct ToldWhenDropped(UnboundedSender<()>);

impl Drop for ToldWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

async fn worker(seen: UnboundedSender<SqsEvent>) -> Result<Lambda, runtime::Error> {
    Ok(Lambda::queue(move |event: SqsEvent, _| {
        let seen = seen.clone();
        async move {
            let mut response = SqsBatchResponse::default();
            for record in &event.records {
                let body = record.body.as_deref().unwrap_or_default();
                assert_ne!(body, "panic", "as the test wants");
                if let Ok(milliseconds) = body.parse() {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                }
                if body.starts_with("bad") {
                    let mut failure = BatchItemFailure::default();
                    failure.item_identifier = record.message_id.clone().unwrap_or_default();
                    response.batch_item_failures.push(failure);
                }
            }
            drop(seen.send(event));
            response
        }
    }))
}

async fn dead_letters(seen: UnboundedSender<SqsEvent>) -> Result<Lambda, runtime::Error> {
    Ok(Lambda::queue(move |event: SqsEvent, _| {
        drop(seen.send(event));
        async { SqsBatchResponse::default() }
    }))
}

/// The fixture's template, changed, in a directory that lives as long as the value.
pub(crate) fn template(change: impl FnOnce(String) -> String) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("template.yaml");
    std::fs::write(&file, change(TEMPLATE.to_owned())).unwrap();
    (directory, file)
}

/// Options for an ephemeral platform of the fixture, and what its functions will see.
pub(crate) fn options() -> (Options, Seen) {
    let (registry, seen) = functions();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixture.yaml");
    (
        Options {
            registry,
            ..Options::new(file)
        },
        seen,
    )
}

/// A running ephemeral platform of the fixture.
pub(crate) async fn start() -> (Platform, Seen) {
    let (options, seen) = options();
    (Platform::start(options).await.unwrap(), seen)
}

/// The error of a platform that cannot start, as the command shows it.
pub(crate) async fn start_error(options: Options) -> String {
    match Platform::start(options).await {
        Ok(_) => panic!("the platform started"),
        Err(error) => error
            .chain()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": "),
    }
}

/// The next value, which must come soon.
pub(crate) async fn next<T>(receiver: &mut UnboundedReceiver<T>) -> T {
    tokio::time::timeout(MAX_WAIT, receiver.recv())
        .await
        .expect("nothing came")
        .expect("the function is gone")
}
