//! A proxy before DynamoDB that writes down every call, and makes each take a while, so that calls which could have run side
//! by side and did not stand out.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use hyper::service::service_fn;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use local::access_key_owner;
use local::network::connections;

/// The delay of every call, where the order of calls is looked at.
const DELAY: Duration = Duration::from_millis(20);

/// One call to DynamoDB.
#[derive(Clone, Debug)]
pub struct Call {
    /// The owner of the access key that signed the call: a function's logical id.
    pub caller: String,
    /// `GetItem`, `Query`, ...
    pub operation: String,
    /// The request, as JSON.
    pub body: Bytes,
    /// The number of bytes that were answered.
    pub answered: usize,
    /// The capacity that the call consumed, one entry for each table: DynamoDB's `ConsumedCapacity`, which names every index.
    pub consumed: Vec<Value>,
    pub started: Instant,
    pub ended: Instant,
}

/// An action of a call on a table, as a policy has to allow it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// `dynamodb:PutItem`, ...
    pub action: String,
    pub table: String,
    /// The index that is asked in place of the table.
    pub index: Option<String>,
}

impl Call {
    /// Returns `true` if the call writes the request log, which happens once the answer is on its way.
    pub fn is_request_log(&self) -> bool {
        let body = String::from_utf8_lossy(&self.body);
        match self.operation.as_str() {
            "PutItem" => body.contains("#activity"),
            // Once a minute.
            "UpdateItem" => body.contains("request_checkpoint#"),
            _ => false,
        }
    }

    /// Returns `true` if the call is made once a response is on its way: it writes the request log, or counts an organization's requests.
    pub fn is_background(&self) -> bool {
        self.is_request_log() || self.counts_for_organization()
    }

    /// Returns `true` if the call counts an organization's requests, several at once.
    pub fn counts_for_organization(&self) -> bool {
        String::from_utf8_lossy(&self.body).contains("rate#organization#")
    }

    /// The actions that the call needs to be allowed. A transaction needs what each of its items would need alone, a batch an action of
    /// its own on every table.
    pub fn accesses(&self) -> BTreeSet<Access> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let access = |action: &str, target: &Value| Access {
            action: format!("dynamodb:{action}"),
            table: text(&target["TableName"]).unwrap_or_default(),
            index: text(&target["IndexName"]),
        };
        if let Some(items) = body["TransactItems"].as_array() {
            let items = items.iter().filter_map(Value::as_object).flatten();
            return items
                .map(|(verb, target)| access(&format!("{verb}Item"), target))
                .collect();
        }
        if let Some(tables) = body["RequestItems"].as_object() {
            let on = |table: &String| Access {
                action: format!("dynamodb:{}", self.operation),
                table: table.clone(),
                index: None,
            };
            return tables.keys().map(on).collect();
        }
        BTreeSet::from([access(&self.operation, &body)])
    }
}

/// The calls since the last look.
#[derive(Clone, Debug)]
pub struct DynamoDbRecorder {
    calls: Arc<Mutex<Vec<Call>>>,
    upstream: Arc<OnceLock<SocketAddr>>,
    delay: Duration,
}

impl Default for DynamoDbRecorder {
    fn default() -> Self {
        Self {
            calls: Arc::default(),
            upstream: Arc::default(),
            delay: DELAY,
        }
    }
}

#[derive(Clone)]
struct Proxy {
    upstream: String,
    client: reqwest::Client,
    recorder: DynamoDbRecorder,
}

impl DynamoDbRecorder {
    /// A recorder that takes no time of its own: for what is called, not for when.
    pub fn without_delay() -> Self {
        Self {
            delay: Duration::ZERO,
            ..Self::default()
        }
    }

    /// The proxy to give to the platform's options. It serves on the runtime that starts the platform.
    pub fn proxy(&self) -> local::Proxy {
        let recorder = self.clone();
        Box::new(move |upstream| Box::pin(start(upstream.address, recorder)))
    }

    /// The calls since the last look.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// DynamoDB itself, for signed requests that go around the proxy; `None` before the platform has started.
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
    listen(Router::new().fallback(forward).with_state(proxy)).await
}

/// Serves a recorder on a port of its own.
pub(crate) async fn listen(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
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
    let caller = caller(&headers);
    tokio::time::sleep(proxy.recorder.delay).await;
    let mut forwarded = headers;
    forwarded.remove(HOST);
    forwarded.remove(CONTENT_LENGTH);
    let request = proxy.client.post(&proxy.upstream).headers(forwarded);
    let (mut answered, mut consumed) = (0, Vec::new());
    let response = match request.body(measured(&body)).send().await {
        Ok(answer) => {
            let status = answer.status();
            let mut headers = answer.headers().clone();
            headers.remove(TRANSFER_ENCODING);
            headers.remove(CONTENT_LENGTH);
            let body = answer.bytes().await.unwrap_or_default();
            answered = body.len();
            consumed = consumption(&body);
            (status, headers, body).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    };
    let call = Call {
        caller,
        operation,
        body,
        answered,
        consumed,
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

/// The request with the wish to be told what it consumes.
fn measured(body: &Bytes) -> Bytes {
    let Ok(Value::Object(mut request)) = serde_json::from_slice(body) else {
        return body.clone();
    };
    request.insert("ReturnConsumedCapacity".to_owned(), "INDEXES".into());
    Value::Object(request).to_string().into()
}

fn consumption(answer: &Bytes) -> Vec<Value> {
    let mut answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    match answer["ConsumedCapacity"].take() {
        Value::Array(tables) => tables,
        Value::Null => Vec::new(),
        table => vec![table],
    }
}

/// The owner of the access key that signed a request: a function's logical id. `Authorization` is
/// `AWS4-HMAC-SHA256 Credential=<access key id>/<date>/...`.
pub fn caller(headers: &HeaderMap) -> String {
    let authorization = headers.get(AUTHORIZATION);
    let signed = authorization
        .and_then(|value| value.to_str().ok()?.split_once("Credential="))
        .and_then(|(_, credential)| credential.split('/').next());
    access_key_owner(signed.unwrap_or_default()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accesses(operation: &str, body: &'static str) -> Vec<(String, String, Option<String>)> {
        let now = Instant::now();
        let call = Call {
            caller: String::new(),
            operation: operation.to_owned(),
            body: Bytes::from_static(body.as_bytes()),
            answered: 0,
            consumed: Vec::new(),
            started: now,
            ended: now,
        };
        let parts = |access: Access| (access.action, access.table, access.index);
        call.accesses().into_iter().map(parts).collect()
    }

    #[test]
    fn a_call_needs_what_each_of_its_parts_does() {
        let on = |action: &str, table: &str, index: Option<&str>| {
            let action = format!("dynamodb:{action}");
            (action, table.to_owned(), index.map(str::to_owned))
        };
        assert_eq!(
            accesses("Query", r#"{"TableName":"A","IndexName":"I"}"#),
            [on("Query", "A", Some("I"))]
        );
        let transaction = r#"{"TransactItems":[{"Put":{"TableName":"A"}},{"Put":{"TableName":"A"}},
            {"ConditionCheck":{"TableName":"B"}},{"Delete":{"TableName":"A"}}]}"#;
        assert_eq!(
            accesses("TransactWriteItems", transaction),
            [
                on("ConditionCheckItem", "B", None),
                on("DeleteItem", "A", None),
                on("PutItem", "A", None)
            ]
        );
        let batch = r#"{"RequestItems":{"A":{"Keys":[]},"B":{"Keys":[]}}}"#;
        assert_eq!(
            accesses("BatchGetItem", batch),
            [on("BatchGetItem", "A", None), on("BatchGetItem", "B", None)]
        );
    }

    #[test]
    fn the_caller_is_who_signed() {
        let mut headers = HeaderMap::new();
        assert_eq!(caller(&headers), "");
        let signature = "AWS4-HMAC-SHA256 Credential=AgentsFunction-0123456789abcdef/20261122/us-east-1/dynamodb/aws4_request, SignedHeaders=host";
        headers.insert(AUTHORIZATION, signature.parse().unwrap());
        assert_eq!(caller(&headers), "AgentsFunction");
    }
}
