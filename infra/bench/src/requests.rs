//! Requests beside the bare DynamoDB calls that they make.

use std::time::Duration;

use serde_json::{Value, json};

use super::Measured;
use super::capture::Capture;
use super::load::{Load, cost, load};
use super::replay::Replay;
use super::sample::to_milliseconds;
use super::table::{Table, milliseconds};
use super::tenant::{Request, Tenant};
use local::child::ChildPlatform;
use local::process;

const CLIENTS: [usize; 2] = [1, 16];
/// The time that connections and caches are warmed.
const WARM_UP: Duration = Duration::from_millis(300);

pub(super) async fn measure(
    platform: &ChildPlatform,
    tenant: &Tenant,
    capture: &Capture,
    each: Duration,
) -> anyhow::Result<Measured> {
    let mut table = Table::new(
        "Authenticated requests beside the bare DynamoDB calls that they make, the request log's included, by the SDK",
        [
            "request",
            "clients",
            "per second",
            "p50",
            "p99",
            "CPU",
            "bare/s",
            "p50",
            "p99",
            "CPU",
            "p50 ratio",
            "CPU ratio",
            "write units",
        ],
    );
    let mut values = Vec::new();
    // Creating comes last, as it makes lists longer.
    let here = &capture.tenant;
    for request in [
        Tenant::get,
        Tenant::get_with_status,
        Tenant::me,
        Tenant::list,
        Tenant::list_by_cursor,
        Tenant::keys,
        Tenant::create,
        Tenant::create_typed,
    ] {
        let (request, recorded) = (request(tenant), request(here));
        let units = capture.units(&recorded).await?;
        let replay = Replay::new(capture.dynamodb()?, &capture.record_all(&recorded).await?)?;
        for clients in CLIENTS {
            let through = through_platform(platform, tenant, &request, clients, each).await?;
            let bare = without_platform(&replay, clients, each).await?;
            let mut cells = row(request.name, clients, &through, &bare);
            cells.push(format!("{:.1}", units.write));
            table.row(cells);
            values.push(json!({
                "request": request.name,
                "clients": clients,
                "platform": through.value(),
                "bare": bare.value(),
                "p50_ratio": rounded(through.load.sample.median() / bare.load.sample.median()),
                "cpu_ratio": rounded(through.cpu / bare.cpu),
                "write_units": units.write,
            }));
        }
    }
    table.note("CPU: the platform's process for requests, their client being another one; the SDK and DynamoDB for bare calls.");
    table.note("Write units: the mean of requests of one minute, the request log included.");
    Ok(Measured {
        name: "requests",
        table,
        value: json!(values),
    })
}

/// The load, and the cost of one in milliseconds of processor time.
struct Figures {
    load: Load,
    cpu: f64,
}

impl Figures {
    fn cells(&self) -> [String; 4] {
        let sample = &self.load.sample;
        [
            format!("{:.0}", self.load.per_second),
            milliseconds(sample.median()),
            milliseconds(sample.percentile(99)),
            milliseconds(self.cpu),
        ]
    }

    fn value(&self) -> Value {
        json!({
            "per_second": rounded(self.load.per_second),
            "p50_ms": self.load.sample.median(),
            "p99_ms": self.load.sample.percentile(99),
            "cpu_ms": rounded(self.cpu),
        })
    }
}

async fn through_platform(
    platform: &ChildPlatform,
    tenant: &Tenant,
    request: &Request,
    clients: usize,
    each: Duration,
) -> anyhow::Result<Figures> {
    let (tenant, request) = (tenant.clone(), request.clone());
    let one = move || {
        let (tenant, request) = (tenant.clone(), request.clone());
        async move { tenant.send(&request).await.map(drop) }
    };
    load(clients, WARM_UP, one.clone()).await?;
    let before = platform.processor_time()?;
    let load = load(clients, each, one).await?;
    let used = platform.processor_time()? - before;
    let cpu = cost(used, load.sample.len());
    Ok(Figures { load, cpu })
}

async fn without_platform(
    replay: &Replay,
    clients: usize,
    each: Duration,
) -> anyhow::Result<Figures> {
    let replay = replay.clone();
    let one = move || {
        let replay = replay.clone();
        async move { replay.run().await }
    };
    load(clients, WARM_UP, one.clone()).await?;
    let this = std::process::id();
    let before = process::processor_time(this)?;
    let load = load(clients, each, one).await?;
    let used = process::processor_time(this)? - before;
    let cpu = cost(used, load.sample.len());
    Ok(Figures { load, cpu })
}

fn row(name: &str, clients: usize, through: &Figures, bare: &Figures) -> Vec<String> {
    let ratio = |ours: f64, theirs: f64| format!("{:.2}", ours / theirs);
    let mut cells = vec![name.to_owned(), clients.to_string()];
    cells.extend(through.cells());
    cells.extend(bare.cells());
    cells.push(ratio(
        through.load.sample.median(),
        bare.load.sample.median(),
    ));
    cells.push(ratio(through.cpu, bare.cpu));
    cells
}

/// To three decimals.
fn rounded(value: f64) -> f64 {
    to_milliseconds(Duration::from_secs_f64((value / 1000.0).max(0.0)))
}
