//! Whether anything gets slower as a tenant grows: the same request in a small and in a large workspace of one platform, in turns.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use domain::agent::Agent;
use domain::audit::{AuditEntry, Caller};
use domain::ids::{AgentId, AgentVersionId, RunId, WorkspaceId};
use runtime::Clock;
use serde_json::json;
use store::Store;
use tokio::task::JoinSet;

use super::Measured;
use super::runs::{finished, send_signal};
use super::sample::Sample;
use super::table::{Table, milliseconds};
use super::tenant::{Request, Tenant};
use crate::{Options, Platform};

/// How many runs a small workspace's agent has had.
const FEW_RUNS: usize = 10;
/// How many agents it has.
const FEW_AGENTS: usize = 100;
const ROUNDS: usize = 5;
/// How often each request is sent in a round.
const REQUESTS: usize = 60;
const RUNS: usize = 20;
/// How many fill a workspace.
const WRITERS: usize = 8;

/// `many`: how many agents, and how many runs, the large workspace has.
pub(super) async fn measure(template: &Path, many: usize) -> anyhow::Result<Measured> {
    let options = Options {
        event_sources: true,
        ..super::options(template)
    };
    let platform = Platform::start(options).await?;
    let (store, clock) = (Store::new(&platform.services()), Clock::system());
    let small = Tenant::found_as(&platform.url(), "small@signalbox.example").await?;
    let large = Tenant::found_as(&platform.url(), "large@signalbox.example").await?;
    let started = Instant::now();
    for (tenant, agents, runs) in [(&small, FEW_AGENTS, FEW_RUNS), (&large, many, many)] {
        Filling::of(&store, &clock, tenant)
            .await?
            .fill(agents, runs)
            .await?;
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

/// Fills a workspace with copies of its first agent and of a run of it, by the store itself.
struct Filling {
    store: Store,
    clock: Clock,
    workspace: WorkspaceId,
    agent: Agent,
    run: RunId,
}

impl Filling {
    async fn of(store: &Store, clock: &Clock, tenant: &Tenant) -> anyhow::Result<Self> {
        let workspace: WorkspaceId = tenant.workspace.parse().context("a workspace's id")?;
        let agent = store.agent(workspace, tenant.agent.parse()?).await?;
        let run = send_signal(tenant).await?;
        finished(tenant, &run, Duration::from_millis(5)).await?;
        Ok(Self {
            store: store.clone(),
            clock: clock.clone(),
            workspace,
            agent: agent.context("the tenant's agent")?,
            run: run.parse()?,
        })
    }

    async fn fill(self, agents: usize, runs: usize) -> anyhow::Result<()> {
        let filling = Arc::new(self);
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let filling = filling.clone();
            let share = move |all: usize| all / WRITERS + usize::from(writer < all % WRITERS);
            writers.spawn(async move {
                for _ in 0..share(agents) {
                    filling.add_agent().await?;
                }
                for _ in 0..share(runs) {
                    filling.add_run().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(writer) = writers.join_next().await {
            writer??;
        }
        Ok(())
    }

    async fn add_agent(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let version = self
            .store
            .agent_version(self.workspace, self.agent.version_id)
            .await?;
        let agent = Agent {
            id: AgentId::new(now),
            version_id: AgentVersionId::new(now),
            created_at: now,
            ..self.agent.clone()
        };
        let mut version = version.context("the agent's version")?;
        version.id = agent.version_id;
        version.agent_id = agent.id;
        let caller = Caller::system(agent.organization_id, self.workspace);
        let audit = AuditEntry::new(&caller, "agent.created", "agent", agent.id, now);
        self.store.create_agent(&agent, &version, &audit).await?;
        Ok(())
    }

    async fn add_run(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let run = self.store.run(self.workspace, self.run).await?;
        let mut run = run.context("the tenant's run")?;
        run.id = RunId::new(now);
        run.created_at = now;
        let caller = Caller::system(run.organization_id, self.workspace);
        let audit = AuditEntry::new(&caller, "run.started", "run", run.id, now);
        self.store.create_run(&run, None, &audit).await?;
        Ok(())
    }
}
