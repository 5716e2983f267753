//! `signalbox bench`: how fast the platform is on this machine, and what it adds to the DynamoDB calls that it makes.

mod capacity;
mod capture;
mod copies;
mod costs;
mod fairness;
mod growth;
mod load;
mod prices;
mod replay;
mod requests;
mod round_trips;
mod runs;
mod sample;
mod starts;
mod startup;
mod streams;
mod table;
mod tenant;

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::Options;
use crate::TemplateSource;
use crate::child::ChildPlatform;
use capture::Capture;
use table::Table;
use tenant::Tenant;

/// The parameters of the template that limit requests. The limiter runs, and its limits are never reached.
const LIMITS: [&str; 8] = [
    "ProdgyLimitPerMinute",
    "ProdgyStrictLimitPerMinute",
    "ProwptLimitPerMinute",
    "AgentPlatformLimitPerMinute",
    "AccountLimitPerMinute",
    "SignInLimitPerMinute",
    "UnauthenticatedLimitPerMinute",
    "OrganizationLimitPerMinute",
];
const RAISED_LIMIT: &str = "600000";
/// The parameter that bounds how many runs of an organization are worked on at once, and what it is raised to.
const PLACES: &str = "RunsAtOncePerOrganization";
const RAISED_PLACES: &str = "200";

#[derive(Args)]
pub(crate) struct BenchArguments {
    /// Where the functions' binaries are: DIRECTORY/<function> or DIRECTORY/<function>/bootstrap, for this machine's processor
    #[arg(long, value_name = "DIRECTORY")]
    bin_dir: Option<PathBuf>,
    /// How long each kind of request is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How many agents and runs the large workspace gets; 0 leaves growth out
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    growth: usize,
}

/// What was measured: a table for people and a value for programs.
struct Measured {
    name: &'static str,
    table: Table,
    value: Value,
}

/// Measures everything and prints it.
pub(crate) async fn run(
    arguments: BenchArguments,
    template: &TemplateSource,
) -> anyhow::Result<()> {
    let processors = available_parallelism().map_or(1, usize::from);
    say(&format!(
        "Clients, platform and DynamoDB share this machine ({processors} processors) and are measured together.\n\
         DynamoDB is the embedded one, in memory: the figures show what Signalbox costs, not what AWS does.\n"
    ))?;
    if cfg!(debug_assertions) {
        say(
            "This is a debug build: its figures mean nothing. Use `cargo run --release -- bench`.\n",
        )?;
    }
    let mut summary = serde_json::Map::new();
    let mut show = |measured: Measured| {
        say(&measured.table.to_string())?;
        summary.insert(measured.name.to_owned(), measured.value);
        anyhow::Ok(())
    };

    if let Some(directory) = &arguments.bin_dir {
        show(starts::measure(template, directory).await?)?;
    }
    show(startup::measure(template).await?)?;

    let capture = Capture::start(template).await?;
    show(round_trips::measure(&capture).await?)?;
    let platform = child(template).await?;
    let tenant = Tenant::found(platform.url()).await?;
    let each = Duration::from_secs(arguments.seconds);
    show(requests::measure(&platform, &tenant, &capture, each).await?)?;
    // Its agents are many by now.
    drop((platform, tenant, capture));
    show(runs::measure(template).await?)?;
    show(fairness::measure(template).await?)?;
    show(streams::measure(template).await?)?;
    show(costs::measure(template).await?)?;
    if arguments.growth > 0 {
        show(growth::measure(template, arguments.growth).await?)?;
    }

    say(&json!(summary).to_string())?;
    Ok(())
}

/// Options of a platform in this process, with limits that are never reached and nothing running by itself.
fn options(template: &TemplateSource) -> Options {
    let quiet = Options {
        schedules: false,
        event_sources: false,
        ..Options::new(template.clone())
    };
    let quiet = quiet.parameter(PLACES, RAISED_PLACES);
    LIMITS.iter().fold(quiet, |options, limit| {
        options.parameter(*limit, RAISED_LIMIT)
    })
}

/// A platform in a process of its own, with limits that are never reached.
async fn child(template: &TemplateSource) -> anyhow::Result<ChildPlatform> {
    child_with(template, Some(format!("{PLACES}={RAISED_PLACES}"))).await
}

/// The same, with the template's own number of places for runs.
async fn child_with_places(template: &TemplateSource) -> anyhow::Result<ChildPlatform> {
    child_with(template, None).await
}

async fn child_with(
    template: &TemplateSource,
    more: Option<String>,
) -> anyhow::Result<ChildPlatform> {
    let limits = LIMITS.map(|limit| format!("{limit}={RAISED_LIMIT}"));
    let others = ["OutboundAllowLoopback=true", "EventStreamsPerWorkspace=200"];
    let parameters = limits.into_iter().chain(others.map(str::to_owned));
    let parameters: Vec<_> = parameters.chain(more).collect();
    ChildPlatform::start(template, None, &parameters).await
}

fn say(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")?;
    output.flush()
}
