//! Runs of an agent, from the signal to the result.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use runtime::Clock;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Measured;
use super::load::rate;
use super::sample::Sample;
use super::table::{Table, milliseconds};
use super::tenant::{Tenant, text};

const ONE_BY_ONE: usize = 50;
const AT_ONCE: usize = 200;
/// How many send the signals of `AT_ONCE`.
const SENDERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);
/// What the agent reads.
const REPORT: &str = include_str!("../../assets/incident-report.md");

pub(super) async fn measure(template: &Path) -> anyhow::Result<Measured> {
    let platform = super::child(template).await?;
    let tenant = Tenant::found(platform.url()).await?;
    let single = one_by_one(&tenant).await?;
    let (crowd, per_second) = at_once(&tenant).await?;

    let mut table = Table::new(
        "Runs of a freeform agent with the built-in model that reads 6 KB, from accepted signal to finished run",
        ["", "runs", "p50", "p99", "per second"],
    );
    let cells = |name: &str, sample: &Sample, rate: String| {
        let (p50, p99) = (sample.median(), sample.percentile(99));
        [
            name.to_owned(),
            sample.len().to_string(),
            milliseconds(p50),
            milliseconds(p99),
            rate,
        ]
    };
    table.row(cells("one by one", &single, String::new()));
    table.row(cells("all at once", &crowd, format!("{per_second:.0}")));
    let value =
        |sample: &Sample| json!({"p50_ms": sample.median(), "p99_ms": sample.percentile(99)});
    Ok(Measured {
        name: "runs",
        table,
        value: json!({
            "one_by_one": value(&single),
            "at_once": value(&crowd),
            "per_second": per_second.round(),
        }),
    })
}

/// Sends a signal, waits for its run, and so on; as a client sees it.
async fn one_by_one(tenant: &Tenant) -> anyhow::Result<Sample> {
    let mut took = Vec::new();
    for _ in 0..ONE_BY_ONE {
        let run = send_signal(tenant).await?;
        let accepted = Instant::now();
        finished(tenant, &run, Duration::from_millis(1)).await?;
        took.push(accepted.elapsed());
    }
    Ok(Sample::new(took))
}

/// Sends all signals as fast as they are taken. The runs themselves tell when they were finished, so that nobody who looks
/// gets in their way.
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
    let run = tokio::time::timeout(PATIENCE, looking).await;
    let run = run.context("a run did not end")??;
    ensure!(run["data"]["status"] == "completed", "a run failed: {run}");
    Ok(run)
}
