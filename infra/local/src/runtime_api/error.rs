//! The errors of a function's binary.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde::Deserialize;

/// An error as a function reports it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct FunctionError {
    #[serde(default, rename = "errorType")]
    pub kind: String,
    #[serde(default, rename = "errorMessage")]
    pub message: String,
}

/// The reason why a binary did not start, or gave no result.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("{} cannot be run", .binary.display())]
    Spawn {
        binary: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the Runtime API cannot listen")]
    Listen(#[source] io::Error),
    #[error("the function did not initialise: {0}")]
    Init(FunctionError),
    #[error("the process had not asked for an event after {0:?}")]
    InitTimeout(Duration),
    /// `log` is the end of what the process wrote.
    #[error("the process ended with {}: {log}", status_text(.status.as_ref()))]
    Ended {
        status: Option<ExitStatus>,
        log: String,
    },
    /// The process is killed, as Lambda does.
    #[error("the function ran into its timeout of {0:?}")]
    TimedOut(Duration),
    #[error("the function failed: {0}")]
    Function(FunctionError),
    #[error("the event has {0} bytes, more than Lambda takes")]
    EventTooLarge(usize),
    #[error("the response has more bytes than Lambda takes")]
    ResponseTooLarge,
    #[error("the response broke off")]
    BrokenOff,
    #[error("the response is not JSON")]
    Unreadable(#[source] serde_json::Error),
}

fn status_text(status: Option<&ExitStatus>) -> String {
    status.map_or_else(|| "an unknown status".to_owned(), ToString::to_string)
}
