//! The cost of requests and runs on AWS: measured processor time, round trips, request units and bytes, at a price table.

use std::time::Duration;

use runtime::aws_prices as prices;
use serde_json::{Value, json};

use super::Measured;
use super::capacity::Units;
use super::load::cost;
use super::runs::{Kind, Service, cpu_of_runs, finished, send_signal};
use super::table::{Table, milliseconds};
use super::tenant::{Request, Tenant};
use local::{Options, Platform, TemplateSource};

use crate::dynamodb_recorder::{Call, DynamoDbRecorder};

/// The time of a round trip to DynamoDB within a region.
const ROUND_TRIP: Duration = Duration::from_millis(4);
/// The memory of the functions, in GB, as in the template.
const MEMORY: f64 = 0.5;
/// A line of a function's log.
const LOG_LINE: f64 = 400.0;
/// Head and gateway headers of an answer.
const HEADERS: f64 = 600.0;
/// The number of times that something is done to measure its processor time.
const REPEATED: usize = 300;

/// The resources that one of something takes.
struct Taken {
    /// Milliseconds of processor time: the platform's, DynamoDB's included, so more than a function's own.
    cpu: f64,
    round_trips: usize,
    units: Units,
    /// Bytes of the answer.
    answered: usize,
}

pub(super) async fn measure(template: &TemplateSource) -> anyhow::Result<Measured> {
    let recorder = DynamoDbRecorder::without_delay();
    let options = Options {
        dynamodb_proxy: Some(recorder.proxy()),
        event_sources: true,
        ..super::options(template)
    };
    let recorded = Platform::start(options).await?;
    let here = Tenant::found(&recorded.url()).await?;
    let platform = super::child(template).await?;
    let there = Tenant::found(platform.url()).await?;

    let mut table = Table::new(
        "The same on AWS, computed: 1,000 of each",
        [
            "",
            "CPU",
            "round trips",
            "read units",
            "write units",
            "items written",
            "US dollars",
        ],
    );
    let mut values = Vec::new();
    let mut add = |name: &str, taken: &Taken, dollars: f64| {
        let thousand = dollars * 1000.0;
        table.row([
            name.to_owned(),
            milliseconds(taken.cpu),
            taken.round_trips.to_string(),
            format!("{:.1}", taken.units.read),
            format!("{:.0}", taken.units.write),
            format!("{:.0}", taken.units.items),
            format!("{thousand:.4}"),
        ]);
        values.push(value(name, taken, thousand));
    };
    for request in [
        Tenant::get,
        Tenant::get_with_status,
        Tenant::list,
        Tenant::list_by_cursor,
        Tenant::create,
        Tenant::execute,
    ] {
        let taken = request_taken(
            &recorder,
            &here,
            &request(&here),
            || {
                let (tenant, request) = (&there, request(&there));
                async move { tenant.send(&request).await.map(drop) }
            },
            || platform.processor_time(),
        )
        .await?;
        add(request(&here).name, &taken, of_request(&taken));
    }

    let service = Service::start().await?;
    let (mut here, mut there) = (here.clone(), there.clone());
    for kind in [Kind::Reading, Kind::Calling] {
        here.agent = kind.agent(&here, &service).await?;
        there.agent = kind.agent(&there, &service).await?;
        let calls = calls_of_run(&recorder, &here).await?;
        let taken = Taken {
            cpu: cpu_of_runs(&platform, &there).await?,
            round_trips: DynamoDbRecorder::nesting(&calls),
            units: calls.iter().map(Units::of).sum(),
            answered: 200,
        };
        let name = format!("run by signal, {}", kind.name());
        add(&name, &taken, of_run(&taken));
    }
    table.note(format!(
        "Billed duration: the CPU above and {} ms a round trip, at {MEMORY} GB.",
        ROUND_TRIP.as_millis()
    ));
    table.note("Prices: shared/runtime/src/aws_prices.rs; us-east-1, no free tier, models and outside services not included.");
    recorded.stop().await;
    Ok(Measured {
        name: "costs",
        table,
        value: json!(values),
    })
}

/// The calls of a run, from its signal to its end.
async fn calls_of_run(recorder: &DynamoDbRecorder, tenant: &Tenant) -> anyhow::Result<Vec<Call>> {
    let mut calls = Vec::new();
    for _ in 0..2 {
        recorder.take();
        let run = send_signal(tenant).await?;
        finished(tenant, &run, Duration::from_millis(50)).await?;
        // What is written beside the end of a run comes a moment later.
        tokio::time::sleep(Duration::from_millis(200)).await;
        calls = recorder.take();
        // Looking whether it is over is not part of it.
        calls.retain(|call| !is_look(call));
    }
    Ok(calls)
}

async fn request_taken<R>(
    recorder: &DynamoDbRecorder,
    here: &Tenant,
    request: &Request,
    send: impl Fn() -> R,
    processor_time: impl Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<Taken>
where
    R: Future<Output = anyhow::Result<()>>,
{
    let mut calls = Vec::new();
    let mut answered = 0;
    // The first one may find out what later ones remember.
    for _ in 0..2 {
        recorder.take();
        answered = here.send(request).await?.to_string().len();
        calls = recorder.take();
    }
    let before = processor_time()?;
    for _ in 0..REPEATED {
        send().await?;
    }
    Ok(Taken {
        cpu: cost(processor_time()? - before, REPEATED),
        round_trips: DynamoDbRecorder::nesting(&calls),
        units: calls.iter().map(Units::of).sum(),
        answered,
    })
}

/// Returns `true` if a call is made to see how a run stands: signals and workers have functions of their own.
fn is_look(call: &Call) -> bool {
    call.caller == "ExecutionsFunction"
}

/// A function at work for as long as this takes.
fn function(taken: &Taken) -> f64 {
    let seconds = taken.cpu / 1000.0 + ROUND_TRIP.as_secs_f64() * taken.round_trips as f64;
    prices::INVOCATION + seconds * MEMORY * prices::GIGABYTE_SECOND + LOG_LINE * prices::LOG_BYTE
}

fn of_request(taken: &Taken) -> f64 {
    prices::API_REQUEST
        + function(taken)
        + taken.units.read * prices::READ_UNIT
        + taken.units.write * prices::WRITE_UNIT
        + (taken.answered as f64 + HEADERS) * prices::BYTE_OUT
}

/// The signal's request, a message that is sent, received and deleted, and the worker's invocation. The time of both functions
/// is in the one sum.
fn of_run(taken: &Taken) -> f64 {
    of_request(taken)
        + 3.0 * prices::QUEUE_REQUEST
        + prices::INVOCATION
        + LOG_LINE * prices::LOG_BYTE
}

fn value(name: &str, taken: &Taken, thousand: f64) -> Value {
    json!({
        "what": name,
        "cpu_ms": taken.cpu,
        "round_trips": taken.round_trips,
        "read_units": taken.units.read,
        "write_units": taken.units.write,
        "items_written": taken.units.items,
        "dollars_per_thousand": thousand,
    })
}
