//! The command line.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bench::BenchArguments;
use clap::{Args, Parser, Subcommand};
use local::administration::{self, AdminCommand, TokenCommand};
use local::{Bootstraps, Data, Options, Platform, TemplateSource, demo, first_start};
use runtime::logging::library_filter;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

const TEMPLATE: &str = "template.yaml";
const DATA_DIRECTORY: &str = ".signalbox";
const LOG_FILTER: &str = "warn,signalbox=info";

/// Runs the Signalbox platform on this machine.
#[derive(Parser)]
#[command(name = "signalbox", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    local: LocalArguments,
    /// The filter of the log on standard error; of libraries, nothing below info [default: warn,signalbox=info]
    #[arg(
        long,
        global = true,
        env = "RUST_LOG",
        value_name = "FILTER",
        hide_env_values = true
    )]
    log: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run template.yaml on this machine; what happens without a command
    Local(LocalArguments),
    /// Make API tokens in a data directory that no platform runs on
    Token {
        #[command(subcommand)]
        command: TokenCommand,
        #[command(flatten)]
        storage: OfflineArguments,
    },
    /// Administer the users of a data directory that no platform runs on
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
        #[command(flatten)]
        storage: OfflineArguments,
    },
    /// Run the main job end to end on real input and show every step
    Demo(TemplateArguments),
    /// Measure the platform on this machine
    Bench {
        #[command(flatten)]
        bench: BenchArguments,
        #[command(flatten)]
        template: TemplateArguments,
    },
}

#[derive(Args)]
struct TemplateArguments {
    /// The template to run [default: template.yaml here or in a directory above, else the one that this program has in it]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
}

#[derive(Args)]
struct LocalArguments {
    /// The port to serve on; 0 takes any free one
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// The address to serve on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Keep nothing: all data is gone when this ends
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    #[command(flatten)]
    storage: StorageArguments,
    /// Set a parameter of the template; may be repeated
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Keep to the limits of API Gateway and Lambda: request bodies of 10 MB, events and responses of 6 MB with binary bodies
    /// in base64, streamed responses of 200 MB, headers of 10,240 bytes, and 29 seconds for an answer
    #[arg(long)]
    strict_limits: bool,
    /// Run functions as the binaries in this directory, each in processes of its own behind the Lambda Runtime API. They lie
    /// there as `cargo build` makes them, or as `cargo lambda build` does
    #[arg(long, value_name = "DIRECTORY")]
    bootstraps: Option<PathBuf>,
}

#[derive(Args)]
struct StorageArguments {
    /// The directory to keep data in [default: .signalbox beside the template, or here if that is the program's own]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    template: TemplateArguments,
}

/// The same for commands with commands of their own: on either side of their names.
#[derive(Args)]
struct OfflineArguments {
    /// The directory that data is kept in [default: .signalbox beside the template, or here if that is the program's own]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// The template that runs on it [default: template.yaml here or in a directory above, else the one that this program has in it]
    #[arg(long, global = true, value_name = "FILE")]
    template: Option<PathBuf>,
}

/// Runs the command that the process's arguments name.
pub(crate) fn run() -> ExitCode {
    let arguments = CommandLine::parse();
    let done = start_logging(arguments.log.as_deref().unwrap_or(LOG_FILTER)).and_then(|()| {
        // The platform brings threads of its own; this one only waits for signals, unless it has to measure.
        let mut runtime = match &arguments.command {
            Some(Command::Bench { .. }) => tokio::runtime::Builder::new_multi_thread(),
            _ => tokio::runtime::Builder::new_current_thread(),
        };
        let runtime = runtime.enable_all().build()?;
        runtime.block_on(async {
            match arguments.command {
                None => Box::pin(local(arguments.local)).await,
                Some(Command::Local(arguments)) => Box::pin(local(arguments)).await,
                Some(Command::Token { command, storage }) => {
                    Box::pin(administration::token(command, storage.into_options()?)).await
                }
                Some(Command::Admin { command, storage }) => {
                    Box::pin(administration::admin(command, storage.into_options()?)).await
                }
                Some(Command::Demo(template)) => {
                    Box::pin(demo::run(Options::new(template.source()?))).await
                }
                Some(Command::Bench { bench, template }) => {
                    Box::pin(bench::run(bench, &template.source()?)).await
                }
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let chain: Vec<String> = error
                .chain()
                .map(|cause| cause.to_string().replace('\n', " "))
                .collect();
            // If standard error is closed, the message has no other way out.
            drop(writeln!(io::stderr(), "signalbox: {}", chain.join(": ")));
            ExitCode::FAILURE
        }
    }
}

fn start_logging(filter: &str) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("{filter:?} is no log filter"))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines.with_filter(filter.and(library_filter())))
        .init();
    Ok(())
}

async fn local(arguments: LocalArguments) -> anyhow::Result<()> {
    // From here on a signal ends what was started in good order.
    let mut signals = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let platform = tokio::select! {
        platform = Box::pin(Platform::start(arguments.into_options()?)) => platform?,
        () = received(&mut signals) => return Ok(()),
    };
    first_start::welcome(&platform).await?;
    announce(&platform)?;
    received(&mut signals).await;
    tracing::info!("finishing what runs; a second signal ends it at once");
    tokio::select! {
        () = platform.stop() => Ok(()),
        () = received(&mut signals) => bail!("ended before what ran had finished"),
    }
}

async fn received((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn announce(platform: &Platform) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "ready {}", platform.url())?;
    output.flush()
}

impl LocalArguments {
    fn into_options(self) -> anyhow::Result<Options> {
        let mut options = self.storage.into_options()?;
        if self.ephemeral {
            options.data = Data::Ephemeral;
        }
        let mut parameters = BTreeMap::new();
        for (name, value) in self.parameters {
            if parameters.insert(name.clone(), value).is_some() {
                bail!("--param {name} is given twice");
            }
        }
        let options = Options {
            host: self.host,
            port: self.port,
            parameters,
            bootstraps: self.bootstraps.map(Bootstraps::of),
            ..options
        };
        Ok(if self.strict_limits {
            options.with_strict_limits()
        } else {
            options
        })
    }
}

impl TemplateArguments {
    fn source(self) -> anyhow::Result<TemplateSource> {
        match self.template {
            Some(file) => Ok(file.into()),
            None => find_template(),
        }
    }
}

impl OfflineArguments {
    fn into_options(self) -> anyhow::Result<Options> {
        let storage = StorageArguments {
            data_dir: self.data_dir,
            template: TemplateArguments {
                template: self.template,
            },
        };
        storage.into_options()
    }
}

impl StorageArguments {
    fn into_options(self) -> anyhow::Result<Options> {
        let template = self.template.source()?;
        let directory = match &template {
            TemplateSource::File(file) => file.parent(),
            TemplateSource::BuiltIn => None,
        };
        let beside = directory.unwrap_or(Path::new("")).join(DATA_DIRECTORY);
        let data = Data::Directory(self.data_dir.unwrap_or(beside));
        Ok(Options {
            data,
            ..Options::new(template)
        })
    }
}

/// Looks for the template as `cargo` looks for its manifest. A template right here has a relative path, so that messages
/// about it stay short. Where there is none, the program brings its own.
fn find_template() -> anyhow::Result<TemplateSource> {
    if Path::new(TEMPLATE).is_file() {
        return Ok(TEMPLATE.into());
    }
    let here = std::env::current_dir().context("the current directory is not known")?;
    let found = here
        .ancestors()
        .map(|directory| directory.join(TEMPLATE))
        .find(|template| template.is_file());
    Ok(found.map_or(TemplateSource::BuiltIn, TemplateSource::File))
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}
