//! `true` if anything gets slower as a tenant grows: the same request in a small and in a large workspace of one platform, in turns.

use std::time::{Duration, Instant};

use runtime::Clock;
use serde_json::json;
use tokio::task::JoinSet;

use super::Measured;
use super::copies::Patterns;
use super::runs::{finished, send_signal};
use super::sample::Sample;
use super::table::{Table, milliseconds};
use super::tenant::{Request, Tenant};
use local::{Options, Platform, TemplateSource};

/// The number of runs that a small workspace's agent has had.
const FEW_RUNS: usize = 10;
/// The number of agents that it has.
const FEW_AGENTS: usize = 100;
const ROUNDS: usize = 5;
/// The number of times that each request is sent in a round.
const REQUESTS: usize = 60;
const RUNS: usize = 20;
/// The number of tasks that fill a workspace.
const WRITERS: usize = 8;

/// `many`: how many agents, and how many runs, the large workspace has.
pub(super) async fn measure(template: &TemplateSource, many: usize) -> anyhow::Result<Measured> {
    let options = Options {
        event_sources: true,
        ..super::options(template)
    };
    let patterns = Patterns::record(template).await?;
    let platform = Platform::start(options).await?;
    let small = Tenant::found_as(&platform.url(), "small@signalbox.example").await?;
    let large = Tenant::found_as(&platform.url(), "large@signalbox.example").await?;
    let started = Instant::now();
    for (tenant, agents, runs) in [(&small, FEW_AGENTS, FEW_RUNS), (&large, many, many)] {
        fill(&platform, &patterns.of(tenant), agents, runs).await?;
    }
    let filled = started.elapsed();

    let mut table = Table::new(
        &format!(
            "The same request in a workspace with {FEW_AGENTS} agents and {FEW_RUNS} runs, and in one with {many} of both"
        ),
        ["request", "small p50", "large p50", "ratio, median of 5"],
    );
    let mut values = Vec::new();
    let mut add = |name: &str, rounds: &[[f64; 2]]| {
        let middle = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let column = |index: usize| middle(rounds.iter().map(|round| round[index]).collect());
        let ratio = middle(rounds.iter().map(|[small, large]| large / small).collect());
        table.row([
            name.to_owned(),
            milliseconds(column(0)),
            milliseconds(column(1)),
            format!("{ratio:.2}"),
        ]);
        values.push(json!({"request": name, "small_p50_ms": column(0), "large_p50_ms": column(1), "ratio": ratio}));
    };
    for request in [
        Tenant::get,
        Tenant::list,
        Tenant::list_by_cursor,
        Tenant::create,
        Tenant::execute,
    ] {
        let (here, there) = (request(&small), request(&large));
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(in_turns([(&small, &here), (&large, &there)]).await?);
        }
        add(here.name, &rounds);
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(runs_in_turns([&small, &large]).await?);
    }
    add("run, signal to finished", &rounds);
    table.note(format!("filled in {} s", filled.as_secs()));
    platform.stop().await;
    Ok(Measured {
        name: "growth",
        table,
        value: json!(values),
    })
}

/// The medians of both.
async fn in_turns(pair: [(&Tenant, &Request); 2]) -> anyhow::Result<[f64; 2]> {
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..REQUESTS {
        for (took, (tenant, request)) in took.iter_mut().zip(pair) {
            let started = Instant::now();
            tenant.send(request).await?;
            took.push(started.elapsed());
        }
    }
    Ok(took.map(|took| Sample::new(took).median()))
}

async fn runs_in_turns(tenants: [&Tenant; 2]) -> anyhow::Result<[f64; 2]> {
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        for (took, tenant) in took.iter_mut().zip(tenants) {
            let started = Instant::now();
            let run = send_signal(tenant).await?;
            finished(tenant, &run, Duration::from_millis(1)).await?;
            took.push(started.elapsed());
        }
    }
    Ok(took.map(|took| Sample::new(took).median()))
}

/// Fills a workspace with copies of an agent, and its first agent with copies of a run.
async fn fill(
    platform: &Platform,
    patterns: &Patterns,
    agents: usize,
    runs: usize,
) -> anyhow::Result<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let share = move |all: usize| all / WRITERS + usize::from(writer < all % WRITERS);
        let (client, patterns) = (platform.services().dynamodb, patterns.clone());
        writers.spawn(async move {
            let clock = Clock::system();
            patterns.agent.copy(&client, &clock, share(agents)).await?;
            patterns.run.copy(&client, &clock, share(runs)).await
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    Ok(())
}
