//! A proxy before DynamoDB that writes down every call, and makes each take a while, so that calls which could have run side
//! by side and did not stand out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::embedded::connections;

/// What every call takes longer.
const DELAY: Duration = Duration::from_millis(20);

/// One call to DynamoDB.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GetItem`, `Query`, ...
    pub operation: String,
    /// What was asked, as JSON.
    pub body: Bytes,
    pub started: Instant,
    pub ended: Instant,
}

/// What was called since the last look.
#[derive(Clone, Debug, Default)]
pub struct DynamoDbRecorder {
    calls: Arc<Mutex<Vec<Call>>>,
    upstream: Arc<OnceLock<SocketAddr>>,
}

#[derive(Clone)]
struct Proxy {
    upstream: String,
    client: reqwest::Client,
    recorder: DynamoDbRecorder,
}

impl DynamoDbRecorder {
    /// The front to give to the platform's options. It serves on the runtime that starts the platform.
    pub fn front(&self) -> crate::DynamoDbFront {
        let recorder = self.clone();
        Box::new(move |upstream| Box::pin(start(upstream, recorder)))
    }

    /// The calls since the last look.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// DynamoDB itself, for whoever wants to go around the proxy; `None` before the platform has started.
    pub fn upstream(&self) -> Option<SocketAddr> {
        self.upstream.get().copied()
    }

    /// The longest chain of calls of which each began after the one before had ended: how many round trips were waited for.
    pub fn nesting(calls: &[Call]) -> usize {
        Self::depths(calls).into_iter().max().unwrap_or(0)
    }

    /// For each call, how many calls were waited for until it had ended, itself included.
    pub fn depths(calls: &[Call]) -> Vec<usize> {
        let mut by_end: Vec<usize> = (0..calls.len()).collect();
        by_end.sort_by_key(|index| calls[*index].ended);
        let mut depths = vec![0; calls.len()];
        for &index in &by_end {
            let before = calls.iter().zip(&depths);
            let before = before.filter(|(call, _)| call.ended <= calls[index].started);
            depths[index] = before.map(|(_, depth)| *depth).max().unwrap_or(0) + 1;
        }
        depths
    }
}

async fn start(upstream: SocketAddr, recorder: DynamoDbRecorder) -> SocketAddr {
    recorder.upstream.get_or_init(|| upstream);
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client without settings");
    let proxy = Proxy {
        upstream: format!("http://{upstream}/"),
        client,
        recorder,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().fallback(forward).with_state(proxy);
    let service_for = move |_| {
        let router = router.clone();
        service_fn(move |request| router.clone().oneshot(request))
    };
    let serving = connections::serve(
        listener,
        service_for,
        CancellationToken::new(),
        Duration::ZERO,
    );
    #[expect(clippy::disallowed_methods, reason = "no Lambda freezes the recorder")]
    tokio::spawn(serving);
    address
}

async fn forward(State(proxy): State<Proxy>, headers: HeaderMap, body: Bytes) -> Response {
    let started = Instant::now();
    let target = headers.get("x-amz-target");
    let target = target.and_then(|value| value.to_str().ok());
    let operation = target
        .unwrap_or_default()
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_owned();
    tokio::time::sleep(DELAY).await;
    let mut forwarded = headers;
    forwarded.remove(HOST);
    forwarded.remove(CONTENT_LENGTH);
    let request = proxy.client.post(&proxy.upstream).headers(forwarded);
    let response = match request.body(body.clone()).send().await {
        Ok(answer) => {
            let status = answer.status();
            let mut headers = answer.headers().clone();
            headers.remove(TRANSFER_ENCODING);
            headers.remove(CONTENT_LENGTH);
            let body = answer.bytes().await.unwrap_or_default();
            (status, headers, body).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    };
    let call = Call {
        operation,
        body,
        started,
        ended: Instant::now(),
    };
    let mut calls = proxy
        .recorder
        .calls
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    calls.push(call);
    response
}
