//! A proxy before DynamoDB that writes down every call, and makes each take a while, so that calls which could have run side
//! by side and did not stand out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

/// What every call takes longer.
const DELAY: Duration = Duration::from_millis(20);

/// One call to DynamoDB.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GetItem`, `Query`, ...
    pub operation: String,
    pub started: Instant,
    pub ended: Instant,
}

/// What was called since the last look.
#[derive(Clone, Debug, Default)]
pub struct DynamoDbRecorder {
    calls: Arc<Mutex<Vec<Call>>>,
}

#[derive(Clone)]
struct Proxy {
    upstream: String,
    client: reqwest::Client,
    recorder: DynamoDbRecorder,
}

impl DynamoDbRecorder {
    /// The front to give to the platform's options.
    pub fn front(&self) -> signalbox::DynamoDbFront {
        let recorder = self.clone();
        Box::new(move |upstream| Box::pin(start(upstream, recorder)))
    }

    /// The calls since the last look.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().expect("no test panics with it"))
    }

    /// The longest chain of calls of which each began after the one before had ended: how many round trips were waited for.
    pub fn nesting(calls: &[Call]) -> usize {
        let mut by_end: Vec<&Call> = calls.iter().collect();
        by_end.sort_by_key(|call| call.ended);
        let mut longest: Vec<(Instant, usize)> = Vec::new();
        for call in by_end {
            let before = longest.iter().filter(|(ended, _)| *ended <= call.started).map(|(_, length)| *length).max().unwrap_or(0);
            longest.push((call.ended, before + 1));
        }
        longest.into_iter().map(|(_, length)| length).max().unwrap_or(0)
    }
}

async fn start(upstream: SocketAddr, recorder: DynamoDbRecorder) -> SocketAddr {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let proxy = Proxy { upstream: format!("http://{upstream}/"), client, recorder };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().fallback(forward).with_state(proxy);
    #[expect(clippy::disallowed_methods, reason = "no Lambda freezes a test")]
    tokio::spawn(async move { axum::serve(listener, router).await.expect("the proxy serves") });
    address
}

async fn forward(State(proxy): State<Proxy>, headers: HeaderMap, body: Bytes) -> Response {
    let started = Instant::now();
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    tokio::time::sleep(DELAY).await;
    let mut forwarded = headers;
    forwarded.remove("host");
    forwarded.remove("content-length");
    let answered = proxy.client.post(&proxy.upstream).headers(forwarded).body(body).send().await;
    let response = match answered {
        Ok(answer) => {
            let status = answer.status();
            let mut headers = answer.headers().clone();
            headers.remove("transfer-encoding");
            headers.remove("content-length");
            (status, headers, answer.bytes().await.unwrap_or_default()).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    };
    let call = Call { operation, started, ended: Instant::now() };
    proxy.recorder.calls.lock().expect("no test panics with it").push(call);
    response
}
