//! What is logged, and how.

use std::collections::HashMap;

use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The crates of this workspace. Their details are ids.
const WORKSPACE_CRATES: [&str; 20] = [
    "agents",
    "auth",
    "deletions",
    "docs",
    "domain",
    "engine",
    "events",
    "executions",
    "identity",
    "integrations",
    "llm",
    "outbound",
    "runtime",
    "signalbox",
    "store",
    "tokens",
    "tools",
    "triggers",
    "usage",
    "web",
];

/// Keeps libraries to INFO, whatever level is asked for. Their details are what must not be logged: the AWS SDK's have the
/// decrypted secret and every item, the Lambda runtime's whole events with passwords, hyper's headers with tokens.
pub fn library_filter() -> FilterFn {
    let rule: fn(&Metadata<'_>) -> bool = is_loggable;
    filter_fn(rule).with_max_level_hint(LevelFilter::TRACE)
}

fn is_loggable(metadata: &Metadata<'_>) -> bool {
    let of = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || WORKSPACE_CRATES.contains(&of)
}

/// Starts a function's logging as Lambda's own variables say: lines on standard output, JSON in production.
pub(crate) fn start(environment: &HashMap<String, String>) {
    let variable = |name: &str| environment.get(name).map_or("", String::as_str);
    let level: LevelFilter = variable("AWS_LAMBDA_LOG_LEVEL")
        .parse()
        .unwrap_or(LevelFilter::INFO);
    // Lambda adds the time itself.
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(false)
        .without_time();
    let lines = if variable("AWS_LAMBDA_LOG_FORMAT").eq_ignore_ascii_case("json") {
        lines.json().boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(library_filter().and(level)))
        .init();
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn the_crates_of_the_workspace_are_named_and_no_others() {
        let manifest = include_str!("../../../Cargo.toml");
        let (_, ours) = manifest.split_once("# Ours\n").unwrap();
        let (ours, _) = ours.split_once("\n\n").unwrap();
        let crates = ours.lines().map(|line| line.split_once(" = ").unwrap().0);
        // It serves tests alone.
        let crates: Vec<_> = crates.filter(|name| *name != "testkit").collect();
        assert_eq!(crates, WORKSPACE_CRATES);
    }

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_our_own_code_is_heard_below_info() {
        let output = Output::default();
        let writer = output.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let filter = library_filter().and(LevelFilter::TRACE);
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "aws_smithy_runtime::client", "trace of a library");
            tracing::debug!(target: "lambda_runtime", "debug of a library");
            tracing::info!(target: "lambda_runtime", "info of a library");
            tracing::trace!(target: "engine::runner", "trace of ours");
            tracing::debug!(target: "web_something_else", "debug of a library");
        });
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let said: Vec<&str> = text
            .lines()
            .filter_map(|line| Some(line.rsplit_once(": ")?.1))
            .collect();
        assert_eq!(said, ["info of a library", "trace of ours"]);
    }
}
