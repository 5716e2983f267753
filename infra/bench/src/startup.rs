//! The start of `signalbox local`, and its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use super::Measured;
use super::platforms::child_in;
use super::sample::Sample;
use super::table::{Table, megabytes, milliseconds, to_megabytes};
use super::tenant::Tenant;
use local::TemplateSource;

const STARTS: usize = 5;
const REQUESTS: usize = 30_000;
const CLIENTS: usize = 8;

pub(super) async fn measure(template: &TemplateSource) -> anyhow::Result<Measured> {
    let (mut ready, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let platform = super::child(template).await?;
        let url = format!("{}/healthz", platform.url());
        let client = reqwest::Client::builder().no_proxy().build()?;
        client.get(url).send().await?.error_for_status()?;
        answered.push(platform.started().elapsed());
        ready.push(platform.ready_after());
    }
    let (ready, answered) = (Sample::new(ready), Sample::new(answered));
    // With its data in a directory, as it is run: in memory, the rows of the request log would be measured.
    let directory = tempfile::tempdir()?;
    let platform = child_in(template, directory.path()).await?;
    let at_start = platform.resident_bytes()?;
    send_many(&Tenant::found(platform.url()).await?).await?;
    let after = platform.resident_bytes()?;

    let mut table = Table::new(
        "The platform: process start to answer, and memory",
        ["", "median of 5 starts", "slowest"],
    );
    for (name, sample) in [("ready", &ready), ("first answer", &answered)] {
        let cells = [sample.median(), sample.percentile(100)].map(milliseconds);
        table.row([name.to_owned()].into_iter().chain(cells));
    }
    table.note(format!(
        "memory, with data in a directory: {} after the start, {} after {REQUESTS} requests",
        megabytes(at_start),
        megabytes(after)
    ));
    Ok(Measured {
        name: "startup",
        table,
        value: json!({
            "ready_ms": ready.median(),
            "first_answer_ms": answered.median(),
            "resident_mb_at_start": to_megabytes(at_start),
            "resident_mb_after_30000_requests": to_megabytes(after),
        }),
    })
}

async fn send_many(tenant: &Tenant) -> anyhow::Result<()> {
    let sent = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (tenant, sent) = (tenant.clone(), sent.clone());
        clients.spawn(async move {
            let request = tenant.get();
            while sent.fetch_add(1, Ordering::Relaxed) < REQUESTS {
                tenant.send(&request).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}
