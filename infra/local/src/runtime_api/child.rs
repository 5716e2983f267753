//! The operating system's side of a function's process.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::BootstrapError;
use super::invocation_channel::InvocationChannel;
use super::log::Log;

/// The time that the last output of an ended process is waited for: a process that inherited it may keep it open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The end of the process: to be brought about, and how it was.
pub(super) struct Ending {
    pub(super) kill: CancellationToken,
    status: OnceLock<Option<ExitStatus>>,
    log: Log,
}

impl Ending {
    pub(super) fn new(log: Log) -> Self {
        Self {
            kill: CancellationToken::new(),
            status: OnceLock::new(),
            log,
        }
    }

    pub(super) fn error(&self) -> BootstrapError {
        BootstrapError::Ended {
            status: self.status.get().copied().flatten(),
            log: self.log.text(),
        }
    }

    pub(super) fn has_come(&self) -> bool {
        self.status.get().is_some()
    }
}

/// A process and whatever it starts. They end with the value.
pub(super) struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        // A group of its own: a signal from the terminal is this process's business, and none that it starts outlives it.
        let child = command.process_group(0).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            child,
            id: id.and_then(Pid::from_raw),
        })
    }

    pub(super) fn id(&self) -> Option<Pid> {
        self.id
    }

    /// Stays with the process to its end.
    pub(super) async fn attend(mut self, channel: Arc<InvocationChannel>, ending: Arc<Ending>) {
        let mut readers = JoinSet::new();
        if let Some(output) = self.child.stdout.take() {
            readers.spawn(ending.log.clone().follow(output));
        }
        if let Some(output) = self.child.stderr.take() {
            readers.spawn(ending.log.clone().follow(output));
        }
        let status = tokio::select! {
            status = self.child.wait() => status.ok(),
            () = ending.kill.cancelled() => {
                kill(self.id);
                // It is gone when this returns, not only told to go.
                self.child.wait().await.ok()
            }
        };
        kill(self.id);
        let all_read = async { while readers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, all_read).await.is_err() {
            tracing::debug!("the output of an ended process is still open");
        }
        ending.status.get_or_init(|| status);
        channel.ended();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once it was waited for, another process may have its number.
        if self.child.id().is_some() {
            kill(self.id);
        }
    }
}

/// Ends a process that was started here, with all that it started.
pub(super) fn kill(group: Option<Pid>) {
    if let Some(group) = group
        && let Err(error) = kill_process_group(group, Signal::KILL)
        && error != Errno::SRCH
    {
        tracing::warn!(%error, "a function's process cannot be killed");
    }
}

/// The command that starts `binary` as Lambda does. Its environment is `environment` and what Lambda adds.
pub(super) fn command(
    binary: &Path,
    environment: &HashMap<String, String>,
    runtime_api: &str,
) -> io::Result<Command> {
    let binary = binary.canonicalize()?;
    let root = binary.parent().unwrap_or(Path::new("/"));
    let mut command = Command::new(&binary);
    command
        .current_dir(root)
        .env_clear()
        // What the caller does not say, as Lambda says it.
        .envs([
            ("AWS_LAMBDA_FUNCTION_NAME", "function"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/function"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("_HANDLER", "bootstrap"),
            ("LANG", "en_US.UTF-8"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("TZ", ":UTC"),
        ])
        .env("LAMBDA_TASK_ROOT", root)
        .envs(environment)
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}
