//! The functions of `bootstraps.yaml`: this very test binary, started by a script of the function's name.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, header};
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::{any, get};
use futures::stream::unfold;
use lambda_http::request::RequestContext;
use runtime::Lambda;
use serde_json::{Value, json};

const NAMES: [&str; 5] = ["web", "stream", "odd", "tick", "worker"];
/// The address of [`serve`].
const TEST: &str = "bootstraps::function::serve";

/// Puts the binaries of all functions into a directory, half of them in either layout.
pub(super) fn install(directory: &Path) {
    let test_binary = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nexec '{}' --ignored --exact {TEST} --nocapture\n",
        test_binary.display()
    );
    for (index, name) in NAMES.into_iter().enumerate() {
        let file = if index % 2 == 0 {
            directory.join(name)
        } else {
            fs::create_dir(directory.join(name)).unwrap();
            directory.join(name).join("bootstrap")
        };
        fs::write(&file, &script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[tokio::test]
#[ignore = "a function, which only a Runtime API can invoke"]
async fn serve() {
    let served = runtime::bootstrap::run(|services| async move {
        let key = &services.config.aws.access_key_id;
        let (function, _) = key.split_once('-').unwrap();
        Ok(match function {
            "WebFunction" => Lambda::Http(web()),
            "StreamFunction" => Lambda::Stream(streams()),
            "WorkerFunction" => Lambda::queue(|event, _| work(event)),
            _ => Lambda::event(|event, _| async move {
                Ok(json!({"pid": std::process::id(), "event": event}))
            }),
        })
    });
    served.await.unwrap();
}

fn web() -> Router {
    Router::new()
        .route("/web/pid", get(async || std::process::id().to_string()))
        .route("/web/environment", get(environment))
        .route("/web/slow", get(slow))
        .route("/web/hang", get(std::future::pending::<()>))
        .route(
            "/web/panic",
            get(async || -> &'static str { panic!("as the test wants") }),
        )
        .route(
            "/web/crash",
            get(async || -> &'static str { std::process::exit(7) }),
        )
        .route("/web/child", get(child))
        .route("/web/echo", any(echo))
}

#[expect(clippy::disallowed_methods, reason = "the test is about it")]
async fn environment() -> String {
    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    json!(names).to_string()
}

async fn slow() -> String {
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::process::id().to_string()
}

/// A process of the function's own, which would outlive it.
async fn child() -> String {
    let child = std::process::Command::new("sleep").arg("600").spawn();
    child.unwrap().id().to_string()
}

async fn echo(request: Request<Body>) -> impl IntoResponse {
    let (head, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let texts = |name: &str| -> Vec<String> {
        let values = head.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    };
    let Some(RequestContext::ApiGatewayV1(context)) = head.extensions.get() else {
        panic!("no request context");
    };
    let seen = json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "twice": texts("x-twice"),
        "body": bytes.to_vec(),
        "resource": context.resource_path,
        "source": context.identity.source_ip,
    });
    let cookies = AppendHeaders([(header::SET_COOKIE, "a=1"), (header::SET_COOKIE, "b=2")]);
    let wants_bytes = head.headers.contains_key("x-bytes");
    let answer = if wants_bytes {
        let mut headers = HeaderMap::new();
        let kind = "application/octet-stream".parse().unwrap();
        headers.insert(header::CONTENT_TYPE, kind);
        (headers, bytes).into_response()
    } else {
        seen.to_string().into_response()
    };
    (cookies, answer)
}

/// The end of a stream after its first two pieces.
async fn piece(number: usize, last: &'static str) -> Option<(Result<Bytes, io::Error>, usize)> {
    let piece = match (number, last) {
        (0 | 1, _) => Ok(Bytes::from(format!("piece {number};"))),
        (_, "crash") => std::process::exit(7),
        (_, "forever") => std::future::pending().await,
        _ => return None,
    };
    Some((piece, number + 1))
}

fn streams() -> Router {
    let stream = |last| {
        let pieces = unfold(0, move |number| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            piece(number, last).await
        });
        let cookies = AppendHeaders([(header::SET_COOKIE, "a=1"), (header::SET_COOKIE, "b=2")]);
        let kind = [(header::CONTENT_TYPE, "text/event-stream")];
        (cookies, kind, Body::from_stream(pieces))
    };
    Router::new()
        .route("/stream/whole", get(async move || stream("")))
        .route("/stream/crash", get(async move || stream("crash")))
        .route("/stream/forever", get(async move || stream("forever")))
        .route("/stream/pid", get(async || std::process::id().to_string()))
}

/// Fails what begins with `bad`, ends the process on `crash` and does not return from `hang`.
async fn work(event: SqsEvent) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for record in event.records {
        match record.body.as_deref().unwrap_or_default() {
            "crash" => std::process::exit(7),
            "hang" => std::future::pending::<()>().await,
            body if body.starts_with("bad") => {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = record.message_id.unwrap_or_default();
                response.batch_item_failures.push(failure);
            }
            _ => {}
        }
    }
    response
}

/// The process that an answer names.
pub(super) fn process_id(answer: &Value) -> u32 {
    u32::try_from(answer["pid"].as_u64().unwrap()).unwrap()
}
