//! Logging.

use std::collections::HashMap;
use std::path::Path;

use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Keeps libraries to INFO, whatever level is asked for. Their details are what must not be logged: the AWS SDK's have the
/// decrypted secret and every item, the Lambda runtime's whole events with passwords, hyper's headers with tokens.
pub fn library_filter() -> FilterFn {
    let rule: fn(&Metadata<'_>) -> bool = is_loggable;
    filter_fn(rule).with_max_level_hint(LevelFilter::TRACE)
}

fn is_loggable(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.file().is_some_and(is_ours)
}

/// Returns `true` if a source file is of this workspace. Cargo names those of its members by relative paths, and those of libraries by absolute
/// ones.
fn is_ours(file: &str) -> bool {
    Path::new(file).is_relative()
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
    use super::*;

    #[test]
    fn only_our_own_code_is_heard_below_info() {
        assert!(is_ours(file!()));
        let library = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/registry/hyper-1.0.0/src/lib.rs"
        );
        assert!(!is_ours(library));
    }
}
