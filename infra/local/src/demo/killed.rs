//! A run whose worker is killed in the middle of a call, and that finishes all the same.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Credential, text};
use super::runs::is_over;
use super::screen::Screen;
use crate::TemplateSource;
use crate::child::ChildPlatform;
use crate::network::connections;

/// The time that the call may take to arrive.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The idempotency keys of the requests that have arrived.
type Keys = Arc<Mutex<Vec<String>>>;

pub(super) async fn outlive_a_kill(
    template: &TemplateSource,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let host = listener.local_addr()?.to_string();
    let keys = Keys::default();
    let service = keys.clone();
    let service_for = move |_| {
        let keys = service.clone();
        service_fn(move |request| answer(keys.clone(), request))
    };
    let stop = CancellationToken::new();
    let world = connections::serve(listener, service_for, stop.clone(), Duration::ZERO);
    let steps = async {
        let result = steps(template, &host, &keys, screen).await;
        stop.cancel();
        result
    };
    tokio::join!(steps, world).0
}

/// A service that leaves its first request without an answer.
async fn answer(
    keys: Keys,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let key = request.headers().get("idempotency-key");
    let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default();
    let is_first = {
        let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(key.to_owned());
        keys.len() == 1
    };
    if is_first {
        std::future::pending::<()>().await;
    }
    Ok(Response::new(Full::from("Stock: 17 crates.")))
}

async fn steps(
    template: &TemplateSource,
    host: &str,
    keys: &Keys,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    screen.step("Start a platform of its own process, with its data in a directory")?;
    let directory = tempfile::tempdir()?;
    let parameters = ["OutboundAllowLoopback=true".to_owned()];
    let start = || ChildPlatform::start(template, Some(directory.path()), &parameters);
    let platform = start().await?;
    let key = Credential::AgentPlatform(platform.greeted("AgentPlatform")?.to_owned());
    screen.result("listening", platform.url())?;

    let mut client = Client::new(platform.url().to_owned(), screen)?;
    client
        .screen
        .step("Start a run that asks a slow service, and kill the platform while it waits")?;
    let directive = json!({"url": format!("http://{host}/stock")});
    let agent = json!({"name": "Stock clerk", "type": "freeform", "config": {
        "instructions": format!("@http_request {directive}"),
        "tools": ["http_request"],
        "allowed_hosts": [host],
    }});
    let agent = client.post("/api/v1/agents", &key, &agent, 201).await?;
    let signals = format!("/api/v1/agents/{}/signals", text(&agent, "/data/id")?);
    let signal = json!({"type": "stock.counted", "payload": {}});
    let accepted = client.post(&signals, &key, &signal, 202).await?;
    let run = format!("/api/v1/runs/{}", text(&accepted, "/data/run_id")?);
    let arrived = || keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let until = Instant::now() + MAX_WAIT;
    while arrived().is_empty() {
        ensure!(Instant::now() < until, "the service was not asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let running = client.get(&run, &key, 200).await?;
    ensure!(text(&running, "/data/status")? == "running", "{running}");
    platform.kill().await?;
    client.screen.result("killed", "as by a power cut")?;

    client
        .screen
        .step("Start it again: the run goes on from the very call that it was in")?;
    let platform = start().await?;
    let mut client = Client::new(platform.url().to_owned(), client.screen)?;
    let ended = client.get_until(&run, &key, is_over).await?;
    ensure!(
        text(&ended, "/data/status")? == "completed",
        "the run ended as {}",
        ended["data"]
    );
    let keys = arrived();
    let [first, second] = &keys[..] else {
        anyhow::bail!("the service was asked {} times", keys.len());
    };
    ensure!(
        first == second,
        "the service could not tell that it was asked twice"
    );
    client.screen.text(text(&ended, "/data/output/text")?)?;
    client
        .screen
        .result("asked twice", format!("under one idempotency key, {first}"))?;
    platform.kill().await.context("the platform's end")
}
