//! A proxy before DynamoDB that injects the faults of DynamoDB and of the network: it throttles, hangs, refuses because of a
//! transaction under way, loses an answer, and answers from indexes that lag behind their table.

mod hold;
mod index_lag;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use self::hold::Held;
use self::hold::Hold;
use self::index_lag::LaggingIndexes;

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ThrottlingException`; nothing has happened.
    Throttled,
    /// No answer, ever; nothing has happened.
    Hangs,
    /// Another transaction is at the same items; nothing has happened.
    Conflicts,
    /// The call was carried out, and the connection breaks in place of the answer.
    AnswerLost,
    /// The call was carried out, and no answer ever comes.
    AnswerHangs,
}

/// The calls that a fault concerns.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    operation: Option<String>,
    caller: Option<String>,
    containing: Vec<String>,
}

impl Calls {
    /// `GetItem`, `TransactWriteItems`, ...
    pub fn of(operation: &str) -> Self {
        Self {
            operation: Some(operation.to_owned()),
            ..Self::default()
        }
    }

    /// Only those of this function, by its logical id.
    #[must_use]
    pub fn by(mut self, function: &str) -> Self {
        self.caller = Some(function.to_owned());
        self
    }

    /// Only those whose body has this text in it: a table's name, a part of a key, a word of what is written.
    #[must_use]
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.containing.push(text.into());
        self
    }

    fn include(&self, call: &Call<'_>) -> bool {
        let is = |wanted: &Option<String>, actual: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == actual)
        };
        is(&self.operation, call.operation)
            && is(&self.caller, call.caller)
            && self.containing.iter().all(|text| call.body.contains(text))
    }
}

/// Faults that were ordered.
#[derive(Clone, Debug)]
pub struct Injected(Arc<AtomicUsize>);

impl Injected {
    /// The number of calls that have met it.
    pub fn met(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    calls: Calls,
    /// The number of calls that still pass first.
    passed: usize,
    left: usize,
    met: Arc<AtomicUsize>,
}

/// The proxy's faults. Without any it passes everything on as it is.
#[derive(Clone, Debug, Default)]
pub struct DynamoDbFaults {
    rules: Arc<Mutex<Vec<Rule>>>,
    holds: Arc<Mutex<Vec<Hold>>>,
    index_lag: Option<Duration>,
}

impl DynamoDbFaults {
    /// No faults, but queries of indexes are answered from the tables as they were this long ago.
    pub fn with_index_lag(lag: Duration) -> Self {
        Self {
            index_lag: Some(lag),
            ..Self::default()
        }
    }

    /// The proxy to give to the platform's options. It serves on the runtime that starts the platform.
    pub fn proxy(&self) -> local::Proxy {
        let faults = self.clone();
        Box::new(move |upstream| Box::pin(start(upstream, faults)))
    }

    /// Lets the next `times` of these calls meet `fault`. What was ordered first comes first.
    pub fn inject(&self, fault: Fault, calls: Calls, times: usize) -> Injected {
        self.inject_after(0, fault, calls, times)
    }

    /// Does the same once `passed` of these calls have met no fault.
    pub fn inject_after(
        &self,
        passed: usize,
        fault: Fault,
        calls: Calls,
        times: usize,
    ) -> Injected {
        let met = Arc::<AtomicUsize>::default();
        self.rules().push(Rule {
            fault,
            calls,
            passed,
            left: times,
            met: met.clone(),
        });
        Injected(met)
    }

    /// Holds these calls back until the test lets them go.
    pub fn hold(&self, calls: Calls) -> Held {
        let (hold, held) = Hold::of(calls);
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.push(hold);
        held
    }

    /// The event that a call waits for before it is passed on.
    fn held(&self, call: &Call<'_>) -> Option<impl Future<Output = ()> + use<>> {
        let holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.iter().find_map(|hold| hold.wait(call))
    }

    /// Withdraws all faults that were not met yet.
    pub fn clear(&self) {
        self.rules().clear();
    }

    fn next(&self, call: &Call<'_>) -> Option<Fault> {
        let mut rules = self.rules();
        let rule = rules
            .iter_mut()
            .find(|rule| rule.left > 0 && rule.calls.include(call))?;
        if rule.passed > 0 {
            rule.passed -= 1;
            return None;
        }
        rule.left -= 1;
        rule.met.fetch_add(1, Ordering::SeqCst);
        Some(rule.fault)
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attributes of a call that faults are chosen by.
struct Call<'a> {
    operation: &'a str,
    caller: &'a str,
    body: &'a str,
}

#[derive(Clone)]
struct Proxy {
    upstream: Upstream,
    faults: DynamoDbFaults,
    lagging: Option<LaggingIndexes>,
}

/// A DynamoDB to pass calls on to.
#[derive(Clone)]
struct Upstream {
    url: String,
    client: reqwest::Client,
    /// The header that marks a request as authenticated, where that is needed.
    pass: Option<(HeaderName, HeaderValue)>,
}

async fn start(upstream: local::Upstream, faults: DynamoDbFaults) -> SocketAddr {
    let upstream = Upstream {
        pass: Some(upstream.pass),
        ..Upstream::at(upstream.address)
    };
    let lagging = match faults.index_lag {
        Some(lag) => Some(LaggingIndexes::of(upstream.clone(), lag).await),
        None => None,
    };
    let proxy = Proxy {
        upstream,
        faults,
        lagging,
    };
    let router = Router::new().fallback(forward).with_state(proxy);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    #[expect(clippy::disallowed_methods, reason = "no Lambda freezes a test")]
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    address
}

async fn forward(State(proxy): State<Proxy>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let target = header("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let caller = bench::caller(&headers);
    let text = String::from_utf8_lossy(&body);
    let call = Call {
        operation: &operation,
        caller: &caller,
        body: &text,
    };
    if let Some(wait) = proxy.faults.held(&call) {
        wait.await;
    }
    let fault = proxy.faults.next(&call);
    match fault {
        Some(Fault::Hangs) => std::future::pending::<()>().await,
        Some(Fault::Throttled) => {
            return refusal("ThrottlingException", "Throughput exceeds the limit", None);
        }
        Some(Fault::Conflicts) => return conflict(&operation, &body),
        Some(Fault::AnswerLost | Fault::AnswerHangs) | None => {}
    }
    let is_of_index = || operation == "Query" && text.contains("\"IndexName\"");
    let answer = match &proxy.lagging {
        Some(lagging) if is_of_index() => lagging.answer(&headers, body).await,
        lagging => {
            let answer = proxy.upstream.pass(&headers, body.clone()).await;
            if let Some(lagging) = lagging {
                lagging.written(&operation, &body).await;
            }
            answer
        }
    };
    match fault {
        Some(Fault::AnswerHangs) => std::future::pending().await,
        // What breaks off in the middle of a body.
        Some(Fault::AnswerLost) => {
            let broken = futures::stream::iter([
                Ok(Bytes::from_static(b"{")),
                Err(std::io::Error::other("lost")),
            ]);
            (StatusCode::OK, Body::from_stream(broken)).into_response()
        }
        _ => answer,
    }
}

/// The response of DynamoDB when a transaction is at the same items.
fn conflict(operation: &str, body: &[u8]) -> Response {
    if operation != "TransactWriteItems" {
        let message = "Transaction is ongoing for the item";
        return refusal("TransactionConflictException", message, None);
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let items = body["TransactItems"].as_array().map_or(1, Vec::len);
    let mut reasons = vec![json!({"Code": "None"}); items];
    reasons[0] =
        json!({"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"});
    refusal(
        "TransactionCanceledException",
        "Transaction cancelled, please refer cancellation reasons for specific reasons",
        Some(json!(reasons)),
    )
}

fn refusal(code: &str, message: &str, reasons: Option<Value>) -> Response {
    let mut body = json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
        "message": message,
    });
    if let Some(reasons) = reasons {
        body["CancellationReasons"] = reasons;
    }
    let headers = [("content-type", "application/x-amz-json-1.0")];
    (StatusCode::BAD_REQUEST, headers, body.to_string()).into_response()
}

impl Upstream {
    fn at(address: SocketAddr) -> Self {
        let client = reqwest::Client::builder().no_proxy().build();
        Self {
            url: format!("http://{address}/"),
            client: client.expect("a client without settings"),
            pass: None,
        }
    }

    /// A call as it came.
    async fn pass(&self, headers: &HeaderMap, body: Bytes) -> Response {
        let mut headers = headers.clone();
        headers.remove(HOST);
        headers.remove(CONTENT_LENGTH);
        let request = self.client.post(&self.url).headers(headers).body(body);
        match request.send().await {
            Ok(answer) => {
                let status = answer.status();
                let mut headers = answer.headers().clone();
                headers.remove(TRANSFER_ENCODING);
                headers.remove(CONTENT_LENGTH);
                let body = answer.bytes().await.unwrap_or_default();
                (status, headers, body).into_response()
            }
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    }

    /// A call of the proxy's own.
    async fn call(&self, operation: &str, body: &Value) -> Value {
        let request = self.client.post(&self.url);
        let request = request
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("x-amz-date", "20260101T000000Z")
            .header("content-type", "application/x-amz-json-1.0")
            .header(
                AUTHORIZATION,
                "AWS4-HMAC-SHA256 Credential=proxy/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
            );
        let request = match &self.pass {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        let answer = request.body(body.to_string()).send().await;
        let answer = answer.expect("DynamoDB answers its proxy");
        let status = answer.status();
        let answer: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{operation}: {answer}");
        answer
    }
}
