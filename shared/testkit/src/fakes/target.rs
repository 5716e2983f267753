//! An outside service, which remembers what was sent to it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::sync::watch;

use super::Server;

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Hit {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// A text that is twice as long as JSON, and then too large for a table.
pub fn large() -> String {
    "\"".repeat(60_000)
}

/// JSON of so many lists, one inside the other.
pub fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// A server that answers everything with 200 and `{"ok":true}`, with these exceptions: `/fail` is answered with 500, `/large` with
/// [`large`], `/nested/64` with 64 lists one inside the other. `/together` is answered once three requests have asked for it, what
/// begins with `/slow` after a while, `/after/5000` after so many milliseconds, and `/held`, with [`large`], when nothing holds it:
/// see [`Target::hold`]. `/broken` breaks off in the middle of its answer,
/// `/huge` answers more than is read, and `/silent` never answers.
#[derive(Debug)]
pub struct Target {
    server: Server,
    state: State,
}

#[derive(Clone, Debug, Default)]
struct State {
    hits: Arc<Mutex<Vec<Hit>>>,
    busy: Busy,
    is_held: watch::Sender<bool>,
}

/// The number of requests that wait for their answers, and the most that have.
#[derive(Clone, Debug, Default)]
struct Busy(Arc<Mutex<(usize, usize)>>);

impl Busy {
    fn change(&self, change: impl FnOnce(&mut (usize, usize))) {
        change(&mut self.0.lock().expect("no test panics with it"));
    }
}

/// A request that waits for its answer, until this is dropped.
struct Waiting(Busy);

impl Waiting {
    fn new(busy: Busy) -> Self {
        busy.change(|(now, most)| {
            *now += 1;
            *most = (*most).max(*now);
        });
        Self(busy)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.change(|(now, _)| *now -= 1);
    }
}

impl Target {
    pub async fn start() -> Self {
        let state = State::default();
        let router = Router::new().fallback(answer).with_state(state.clone());
        Self {
            server: Server::start(router).await,
            state,
        }
    }

    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// The requests so far.
    pub fn hits(&self) -> Vec<Hit> {
        let hits = self.state.hits.lock();
        hits.expect("no test panics with it").clone()
    }

    /// Keeps the answers to `/held` back until [`Target::release`].
    pub fn hold(&self) {
        self.state.is_held.send_replace(true);
    }

    pub fn release(&self) {
        self.state.is_held.send_replace(false);
    }

    /// The most requests of `/after` that have waited for their answers at once.
    pub fn most_at_once(&self) -> usize {
        self.state.busy.0.lock().expect("no test panics with it").1
    }
}

async fn answer(
    extract::State(State {
        hits,
        busy,
        is_held,
    }): extract::State<State>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let hit = Hit {
        method,
        path: path.clone(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    hits.lock().expect("no test panics with it").push(hit);
    if path.starts_with("/slow") {
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    if let Some(Ok(millis)) = path.strip_prefix("/after/").map(str::parse) {
        let _waiting = Waiting::new(busy);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    if path == "/held" {
        let mut is_held = is_held.subscribe();
        let released = is_held.wait_for(|is_held| !is_held).await;
        drop(released.expect("the target is there"));
    }
    if path == "/silent" {
        std::future::pending::<()>().await;
    }
    if path == "/broken" {
        let pieces = stream::iter([
            Ok(Bytes::from_static(b"{\"ok\":")),
            Err(io::Error::other("broken")),
        ]);
        return Body::from_stream(pieces).into_response();
    }
    // Calls that are made one after the other would wait here for ever.
    while path == "/together" && count(&hits, &path) < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (status, body) = match path.as_str() {
        "/fail" => (
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"ok":false}"#.to_owned(),
        ),
        "/large" | "/slow/large" | "/held" => (StatusCode::OK, large()),
        "/huge" => (StatusCode::OK, "x".repeat(2 << 20)),
        _ => (StatusCode::OK, r#"{"ok":true}"#.to_owned()),
    };
    match path.strip_prefix("/nested/").map(str::parse) {
        Some(Ok(levels)) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, nested(levels)).into_response()
        }
        _ => (status, body).into_response(),
    }
}

fn count(hits: &Mutex<Vec<Hit>>, path: &str) -> usize {
    let hits = hits.lock().expect("no test panics with it");
    hits.iter().filter(|hit| hit.path == path).count()
}
