//! `signalbox bench`: how fast the platform is on this machine, and what it adds to the DynamoDB calls that it makes.

mod capacity;
mod capture;
mod copies;
mod costs;
mod dynamodb_recorder;
mod fairness;
mod growth;
mod load;
mod platforms;
mod replay;
mod requests;
mod round_trips;
mod runs;
mod s3_recorder;
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

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use capture::Capture;
use local::TemplateSource;
use platforms::{child, child_with_places, options};
use table::Table;
use tenant::Tenant;

pub use dynamodb_recorder::{Access, Call, DynamoDbRecorder, caller};
pub use s3_recorder::{S3Call, S3Recorder};

#[derive(Args)]
pub struct BenchArguments {
    /// The directory of the functions' binaries, each DIRECTORY/FUNCTION or DIRECTORY/FUNCTION/bootstrap, for this machine's processor
    #[arg(long, value_name = "DIRECTORY")]
    bin_dir: Option<PathBuf>,
    /// The time that each kind of request is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// The number of agents and of runs in the large workspace; 0 leaves growth out
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    growth: usize,
    /// The only measurements to make beside those of `--bin-dir`, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<Measurement>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Measurement {
    Startup,
    Requests,
    Runs,
    Fairness,
    Streams,
    Costs,
    Growth,
}

impl BenchArguments {
    fn wants(&self, measurement: Measurement) -> bool {
        self.only.is_empty() || self.only.contains(&measurement)
    }
}

/// A measurement: a table for people and a value for programs.
struct Measured {
    name: &'static str,
    table: Table,
    value: Value,
}

/// Measures everything and prints it.
pub async fn run(arguments: BenchArguments, template: &TemplateSource) -> anyhow::Result<()> {
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
    if arguments.wants(Measurement::Startup) {
        show(startup::measure(template).await?)?;
    }
    if arguments.wants(Measurement::Requests) {
        let capture = Capture::start(template).await?;
        show(round_trips::measure(&capture).await?)?;
        let platform = child(template).await?;
        let tenant = Tenant::found(platform.url()).await?;
        let each = Duration::from_secs(arguments.seconds);
        show(requests::measure(&platform, &tenant, &capture, each).await?)?;
    }
    if arguments.wants(Measurement::Runs) {
        show(runs::measure(template).await?)?;
    }
    if arguments.wants(Measurement::Fairness) {
        show(fairness::measure(template).await?)?;
    }
    if arguments.wants(Measurement::Streams) {
        show(streams::measure(template).await?)?;
    }
    if arguments.wants(Measurement::Costs) {
        show(costs::measure(template).await?)?;
    }
    if arguments.wants(Measurement::Growth) && arguments.growth > 0 {
        show(growth::measure(template, arguments.growth).await?)?;
    }

    say(&json!(summary).to_string())?;
    Ok(())
}

fn say(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")?;
    output.flush()
}
