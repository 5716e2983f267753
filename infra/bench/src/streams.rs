//! Watching executions: one stream, and many at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::StreamExt;
use serde_json::json;
use tokio::task::JoinSet;

use super::Measured;
use super::sample::Sample;
use super::table::{Table, milliseconds};
use super::tenant::{Tenant, text};
use local::TemplateSource;

const AT_ONCE: [usize; 2] = [1, 200];
/// The number of times that one stream alone is measured.
const ALONE: usize = 20;
const MAX_WAIT: Duration = Duration::from_secs(60);

pub(super) async fn measure(template: &TemplateSource) -> anyhow::Result<Measured> {
    let platform = super::child(template).await?;
    let tenant = Arc::new(Tenant::found(platform.url()).await?);
    let mut table = Table::new(
        "Event streams of executions with the built-in model, opened as soon as the execution is accepted",
        [
            "streams at once",
            "first event p50",
            "p99",
            "whole stream p50",
            "CPU a stream",
        ],
    );
    let mut values = Vec::new();
    for streams in AT_ONCE {
        let (mut first, mut whole) = (Vec::new(), Vec::new());
        let rounds = if streams == 1 { ALONE } else { 1 };
        let before = platform.processor_time()?;
        for _ in 0..rounds {
            for watched in watch_many(&tenant, streams).await? {
                first.push(watched.first);
                whole.push(watched.whole);
            }
        }
        let cpu = super::load::cost(platform.processor_time()? - before, streams * rounds);
        let (first, whole) = (Sample::new(first), Sample::new(whole));
        table.row([
            streams.to_string(),
            milliseconds(first.median()),
            milliseconds(first.percentile(99)),
            milliseconds(whole.median()),
            milliseconds(cpu),
        ]);
        values.push(json!({
            "streams": streams,
            "first_event_p50_ms": first.median(),
            "first_event_p99_ms": first.percentile(99),
            "whole_p50_ms": whole.median(),
            "cpu_ms": cpu,
        }));
    }
    table.note("Every stream was complete, in order, and the same when it was asked for again; the executions are in the CPU.");
    Ok(Measured {
        name: "streams",
        table,
        value: json!(values),
    })
}

struct Watched {
    first: Duration,
    whole: Duration,
}

async fn watch_many(tenant: &Arc<Tenant>, count: usize) -> anyhow::Result<Vec<Watched>> {
    let mut executions = JoinSet::new();
    for _ in 0..count {
        let tenant = tenant.clone();
        executions.spawn(async move {
            let accepted = tenant.send(&tenant.execute()).await?;
            text(&accepted, "/data/execution_id")
        });
    }
    let mut watchers = JoinSet::new();
    while let Some(execution) = executions.join_next().await {
        let (tenant, execution) = (tenant.clone(), execution??);
        watchers.spawn(async move {
            let watching = watch(&tenant, &execution);
            let watched = tokio::time::timeout(MAX_WAIT, watching).await;
            let (events, watched) = watched.context("a stream did not end")??;
            anyhow::Ok((execution, events, watched))
        });
    }
    let mut all = Vec::new();
    let mut live = Vec::new();
    while let Some(watched) = watchers.join_next().await {
        let (execution, events, watched) = watched??;
        live.push((execution, events));
        all.push(watched);
    }
    // Once more from the start, when the places of all streams are free.
    for (execution, events) in live {
        let again = read(tenant, &execution, || ()).await?;
        ensure!(events == again, "a replay differs: {events}\n---\n{again}");
    }
    Ok(all)
}

/// Reads a stream to its end.
async fn watch(tenant: &Tenant, execution: &str) -> anyhow::Result<(String, Watched)> {
    let started = Instant::now();
    let mut first = None;
    let live = read(tenant, execution, || {
        first.get_or_insert_with(|| started.elapsed());
    })
    .await?;
    let whole = started.elapsed();
    let ids: Vec<u64> = live
        .lines()
        .filter_map(|line| line.strip_prefix("id:")?.trim().parse().ok())
        .collect();
    ensure!(ids.len() > 2 && ids.is_sorted(), "out of order: {live}");
    ensure!(live.contains("event: done"), "incomplete: {live}");
    let first = first.context("a stream without events")?;
    Ok((live, Watched { first, whole }))
}

/// The events of a stream, without its comments.
async fn read(
    tenant: &Tenant,
    execution: &str,
    mut on_first: impl FnMut(),
) -> anyhow::Result<String> {
    let response = tenant.events(execution).await?;
    let mut body = response.bytes_stream();
    let mut text = String::new();
    while let Some(chunk) = body.next().await {
        text.push_str(std::str::from_utf8(&chunk?)?);
        if text.contains("event:") {
            on_first();
        }
    }
    let lines = text
        .lines()
        .filter(|line| !line.starts_with(':') && !line.starts_with("retry"));
    Ok(lines.collect::<Vec<_>>().join("\n").trim_start().to_owned())
}
