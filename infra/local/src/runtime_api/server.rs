//! The HTTP interface that a function's process talks to, version 2018-06-01.
//!
//! Its events carry passwords, and every process of the machine reaches a loopback port. Therefore the function's process is
//! told an address with a secret in its path, which `lambda_runtime` keeps, and requests without that secret are refused.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

use super::error::{BootstrapError, FunctionError};
use super::invocation_channel::InvocationChannel;
use super::invocation_response::{InvocationResponse, PAYLOAD_LIMIT, ResponseStream};
use crate::embedded::access_keys::random;
use crate::embedded::authenticator::{host, is_sent_to};
use crate::network::connections;
use crate::template::{ACCOUNT_ID, REGION};

const SECRET_LENGTH: usize = 43;
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";

/// The facts that the interface knows of a process's function.
#[derive(Clone)]
struct Served {
    channel: Arc<InvocationChannel>,
    function: Arc<str>,
}

/// The interface at one port, for any number of processes: a process that is kept from that port is kept from all of them. Cheap
/// to clone.
#[derive(Clone)]
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    /// By the secret that a process was told.
    processes: Arc<Mutex<HashMap<String, Router>>>,
}

/// The registration of a process, which may ask for events until this is dropped.
pub(super) struct Access {
    api: RuntimeApi,
    secret: String,
}

impl RuntimeApi {
    /// The interface at the address of `listener`, and what answers there until `stop`.
    ///
    /// # Errors
    /// The listener has no address.
    pub(crate) fn at(
        listener: TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let address = listener.local_addr()?;
        let api = Self {
            address,
            processes: Arc::default(),
        };
        let host = Arc::new(host(address));
        let processes = api.processes.clone();
        let service_for = move |_| {
            let (host, processes) = (host.clone(), processes.clone());
            service_fn(move |request| {
                let (host, processes) = (host.clone(), processes.clone());
                async move {
                    let Some((router, request)) = of_a_process(request, &host, &processes) else {
                        return Ok::<_, Infallible>(StatusCode::FORBIDDEN.into_response());
                    };
                    router.oneshot(request).await
                }
            })
        };
        let serving = connections::serve(listener, service_for, stop, Duration::ZERO);
        Ok((api, serving))
    }

    /// Lets a process of `function` in that is about to be started.
    pub(super) fn admit(&self, channel: Arc<InvocationChannel>, function: &str) -> Access {
        let secret = random(SECRET_LENGTH);
        let router = runtime_routes()
            .layer(DefaultBodyLimit::disable())
            .with_state(Served {
                channel,
                function: function.into(),
            });
        lock(&self.processes).insert(secret.clone(), router);
        Access {
            api: self.clone(),
            secret,
        }
    }
}

impl Access {
    /// The address that the process has to be told.
    pub(super) fn url(&self) -> String {
        format!("http://{}/{}", self.api.address, self.secret)
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        lock(&self.api.processes).remove(&self.secret);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request of one of the processes, without the secret in its path, and what answers it; `None` for any other request.
fn of_a_process(
    request: Request<Incoming>,
    host: &HeaderValue,
    processes: &Mutex<HashMap<String, Router>>,
) -> Option<(Router, Request<Body>)> {
    let (mut head, body) = request.into_parts();
    if !is_sent_to(host, &head) || head.headers.contains_key(ORIGIN) {
        return None;
    }
    let target = head.uri.path_and_query()?.as_str().strip_prefix('/')?;
    let (shown, rest) = target.split_at_checked(SECRET_LENGTH)?;
    // By its hash, with a key of this process's own: the time that this takes says nothing of the secrets.
    let router = lock(processes).get(shown)?.clone();
    head.uri = rest.parse().ok()?;
    Some((router, Request::from_parts(head, Body::new(body))))
}

fn runtime_routes() -> Router<Served> {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
}

async fn next(State(served): State<Served>) -> Response {
    let Some((event, request_id, deadline_millis)) = served.channel.next().await else {
        return StatusCode::GONE.into_response();
    };
    let function = &served.function;
    let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{function}");
    // Lambda names a trace also where nothing is traced.
    let id = Uuid::new_v4().simple().to_string();
    let trace = format!("Root=1-{}-{};Sampled=0", &id[..8], &id[8..]);
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", request_id),
        ("lambda-runtime-deadline-ms", deadline_millis.to_string()),
        ("lambda-runtime-invoked-function-arn", arn),
        ("lambda-runtime-trace-id", trace),
    ];
    (headers, event).into_response()
}

async fn response(
    State(served): State<Served>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mode = headers.get(RESPONSE_MODE).map(|mode| mode.as_bytes());
    if mode == Some(b"streaming") {
        return streamed_response(&served, &request_id, body).await;
    }
    match Limited::new(body, PAYLOAD_LIMIT).collect().await {
        Ok(whole) => {
            let answer = InvocationResponse::Whole(whole.to_bytes());
            accepted(served.channel.finish(&request_id, Ok(answer)))
        }
        Err(error) if error.is::<LengthLimitError>() => {
            let too_large = BootstrapError::ResponseTooLarge;
            served.channel.finish(&request_id, Err(too_large));
            too_large_response()
        }
        Err(_) => {
            let broken_off = BootstrapError::BrokenOff;
            accepted(served.channel.finish(&request_id, Err(broken_off)))
        }
    }
}

/// Hands the response on while it comes. The process is told that it arrived only when all of it did.
async fn streamed_response(served: &Served, request_id: &str, body: Body) -> Response {
    let (sender, pieces) = ResponseStream::new();
    let answer = InvocationResponse::Streamed(pieces);
    if !served.channel.finish(request_id, Ok(answer)) {
        return accepted(false);
    }
    match sender.pass_on(body).await {
        Ok(()) => accepted(true),
        Err(_) => too_large_response(),
    }
}

fn too_large_response() -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    let body = r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size"}"#;
    (StatusCode::PAYLOAD_TOO_LARGE, json, body).into_response()
}

async fn error(
    State(served): State<Served>,
    Path(request_id): Path<String>,
    body: Bytes,
) -> Response {
    let failed = BootstrapError::Function(function_error(&body));
    accepted(served.channel.finish(&request_id, Err(failed)))
}

async fn init_error(State(served): State<Served>, body: Bytes) -> Response {
    served.channel.init_failed(function_error(&body));
    accepted(true)
}

/// The error that the process reports; its own words if they are not in the form that they should have.
fn function_error(body: &[u8]) -> FunctionError {
    serde_json::from_slice(body).unwrap_or_else(|_| FunctionError {
        kind: "Unknown".to_owned(),
        message: String::from_utf8_lossy(body).into_owned(),
    })
}

fn accepted(known: bool) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    if known {
        (StatusCode::ACCEPTED, json, r#"{"status":"OK"}"#).into_response()
    } else {
        let body = r#"{"errorType":"InvalidRequestID","errorMessage":"Invalid request ID"}"#;
        (StatusCode::BAD_REQUEST, json, body).into_response()
    }
}
