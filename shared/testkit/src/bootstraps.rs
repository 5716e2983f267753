//! Running the same tests against the real binaries.

use std::path::PathBuf;

use local::{Bootstraps, Options};

/// The directory of the functions' binaries, for tests that are to run them behind the Lambda Runtime API. Without it functions run
/// as libraries.
const VARIABLE: &str = "SIGNALBOX_BOOTSTRAPS";

/// The binaries that tests are to run, if they are to.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no other place to be told"
)]
pub(crate) fn chosen() -> Option<Bootstraps> {
    let directory = std::env::var(VARIABLE).ok()?;
    // Tests of different crates run in different directories, so a relative path is the workspace's.
    let workspace = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    Some(Bootstraps::of(workspace.join(directory)))
}

/// Options for a test of what no other process can be given, such as a clock that it moves: its functions run as libraries
/// whatever is chosen for the others.
pub fn in_this_process(options: Options) -> Options {
    Options {
        bootstraps: None,
        ..options
    }
}
