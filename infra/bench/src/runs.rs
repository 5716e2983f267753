//! Runs of an agent, from the signal to the result.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use runtime::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Measured;
use super::load::{cost, rate};
use super::sample::Sample;
use super::table::{Table, milliseconds};
use super::tenant::{Tenant, text};
use local::TemplateSource;
use local::child::ChildPlatform;
use local::network::connections;

const ONE_BY_ONE: usize = 50;
const AT_ONCE: usize = 200;
/// The number of senders of the signals of `AT_ONCE`.
const SENDERS: usize = 8;
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The path at which the outside service is slow, and how long it takes there.
const SLOW_PATH: &str = "/slow";
pub(super) const SLOW: Duration = Duration::from_secs(19);
/// The report that the agent reads.
const REPORT: &str = include_str!("../../local/assets/incident-report.md");

pub(super) async fn measure(template: &TemplateSource) -> anyhow::Result<Measured> {
    let platform = super::child(template).await?;
    let mut tenant = Tenant::found(platform.url()).await?;
    let service = Service::start().await?;
    let mut table = Table::new(
        "Runs with the built-in model, from accepted signal to finished run",
        ["", "runs", "p50", "p99", "per second", "CPU a run"],
    );
    let mut values = serde_json::Map::new();
    for kind in [Kind::Reading, Kind::Calling] {
        tenant.agent = kind.agent(&tenant, &service).await?;
        let single = one_by_one(&tenant).await?;
        let (crowd, per_second) = at_once(&tenant).await?;
        let cpu = cpu_of_runs(&platform, &tenant).await?;
        let row = |name: &str, sample: &Sample, rest: [String; 2]| {
            let (p50, p99) = (sample.median(), sample.percentile(99));
            let name = format!("{}, {name}", kind.name());
            let cells = [
                name,
                sample.len().to_string(),
                milliseconds(p50),
                milliseconds(p99),
            ];
            cells.into_iter().chain(rest)
        };
        table.row(row("one by one", &single, [String::new(), String::new()]));
        let rest = [format!("{per_second:.0}"), milliseconds(cpu)];
        table.row(row("all at once", &crowd, rest));
        let value =
            |sample: &Sample| json!({"p50_ms": sample.median(), "p99_ms": sample.percentile(99)});
        values.insert(
            kind.name().to_owned(),
            json!({
                "one_by_one": value(&single),
                "at_once": value(&crowd),
                "per_second": per_second.round(),
                "cpu_ms": cpu,
            }),
        );
    }
    table.note("CPU: the platform's process, so gateway, functions and embedded services, for the signal's request and the run.");
    Ok(Measured {
        name: "runs",
        table,
        value: values.into(),
    })
}

/// The work of the agent.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Reads 6 KB.
    Reading,
    /// Makes one call of a tool.
    Calling,
    /// Makes one call of a tool that takes [`SLOW`].
    Waiting,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading 6 KB",
            Self::Calling => "one tool call",
            Self::Waiting => "one slow tool call",
        }
    }

    pub(super) async fn agent(self, tenant: &Tenant, service: &Service) -> anyhow::Result<String> {
        let host = &service.host;
        let path = match self {
            Self::Reading => return Ok(tenant.agent.clone()),
            Self::Calling => "/",
            Self::Waiting => SLOW_PATH,
        };
        let directive = json!({"url": format!("http://{host}{path}"), "timeout_seconds": 20});
        let config = json!({
            "instructions": format!("@http_request {directive}"),
            "tools": ["http_request"],
            "allowed_hosts": [host],
        });
        let agent = tenant.send(&tenant.create_with(config)).await?;
        text(&agent, "/data/id")
    }
}

/// An outside service, in this process: what it costs is not the platform's.
pub(super) struct Service {
    host: String,
    _serving: JoinSet<()>,
}

impl Service {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let host = listener.local_addr()?.to_string();
        let service_for = move |_| service_fn(answer);
        let mut serving = JoinSet::new();
        let forever = CancellationToken::new();
        serving.spawn(connections::serve(
            listener,
            service_for,
            forever,
            Duration::ZERO,
        ));
        Ok(Self {
            host,
            _serving: serving,
        })
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == SLOW_PATH {
        tokio::time::sleep(SLOW).await;
    }
    Ok(Response::new(Full::from("17 crates")))
}

/// The cost of a run in milliseconds of processor time. Meanwhile only one of the runs is looked at, now and then.
pub(super) async fn cpu_of_runs(platform: &ChildPlatform, tenant: &Tenant) -> anyhow::Result<f64> {
    let before = platform.processor_time()?;
    let mut last = String::new();
    for _ in 0..AT_ONCE {
        last = send_signal(tenant).await?;
    }
    finished(tenant, &last, Duration::from_millis(200)).await?;
    // The runs before it may end after it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(cost(platform.processor_time()? - before, AT_ONCE))
}

/// Sends a signal, waits for its run, and so on; as a client sees it.
pub(super) async fn one_by_one(tenant: &Tenant) -> anyhow::Result<Sample> {
    let mut took = Vec::new();
    for _ in 0..ONE_BY_ONE {
        let run = send_signal(tenant).await?;
        let accepted = Instant::now();
        finished(tenant, &run, Duration::from_millis(1)).await?;
        took.push(accepted.elapsed());
    }
    Ok(Sample::new(took))
}

/// Sends all signals as fast as they are taken. The runs themselves tell when they were finished, so that no polling slows
/// them down.
async fn at_once(tenant: &Tenant) -> anyhow::Result<(Sample, f64)> {
    let clock = Clock::system();
    let sent_first = clock.now();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (tenant, clock) = (Arc::new(tenant.clone()), clock.clone());
        senders.spawn(async move {
            let mut accepted = Vec::new();
            for _ in 0..AT_ONCE / SENDERS {
                accepted.push((send_signal(&tenant).await?, clock.now()));
            }
            anyhow::Ok(accepted)
        });
    }
    let mut accepted = Vec::new();
    while let Some(sender) = senders.join_next().await {
        accepted.extend(sender??);
    }
    let mut took = Vec::new();
    let mut finished_last = sent_first;
    for (run, accepted) in accepted {
        let run = finished(tenant, &run, Duration::from_millis(50)).await?;
        let at: DateTime<Utc> = text(&run, "/data/finished_at")?.parse()?;
        finished_last = finished_last.max(at);
        // A run may be finished before its sender has read that it was accepted.
        took.push((at - accepted).to_std().unwrap_or_default());
    }
    let all = (finished_last - sent_first).to_std().unwrap_or_default();
    let per_second = rate(took.len(), all);
    Ok((Sample::new(took), per_second))
}

/// Returns the run that the signal has started.
pub(super) async fn send_signal(tenant: &Tenant) -> anyhow::Result<String> {
    let accepted = tenant.send(&tenant.signal(json!({"text": REPORT}))).await?;
    text(&accepted, "/data/run_id")
}

/// The run once it is completed.
pub(super) async fn finished(tenant: &Tenant, run: &str, pause: Duration) -> anyhow::Result<Value> {
    let request = tenant.run(run);
    let looking = async {
        loop {
            let run = tenant.send(&request).await?;
            match run["data"]["status"].as_str() {
                Some("queued" | "running") => tokio::time::sleep(pause).await,
                _ => return anyhow::Ok(run),
            }
        }
    };
    let run = tokio::time::timeout(MAX_WAIT, looking).await;
    let run = run.context("a run did not end")??;
    ensure!(run["data"]["status"] == "completed", "a run failed: {run}");
    Ok(run)
}
