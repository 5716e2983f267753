//! A platform in a process of its own, so that its memory and processor time can be told from those of its clients.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::{LIMITS, RAISED_LIMIT};
use crate::process;

const READY: &str = "ready ";
const PATIENCE: Duration = Duration::from_secs(30);

/// `signalbox local --ephemeral`. The process ends with the value.
pub(super) struct ChildPlatform {
    process_id: u32,
    url: String,
    ready_after: Duration,
    started: Instant,
    _child: Child,
    _output: JoinHandle<()>,
}

impl ChildPlatform {
    /// Starts a platform and waits until it is ready.
    pub(super) async fn start(template: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program is not known")?;
        let mut command = Command::new(program);
        command
            .args(["local", "--ephemeral", "--port", "0", "--log", "error"])
            .arg("--template")
            .arg(template)
            .args(
                LIMITS
                    .iter()
                    .flat_map(|limit| ["--param".to_owned(), format!("{limit}={RAISED_LIMIT}")]),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child = command.spawn()?;
        let process_id = child.id().unwrap_or_default();
        let output = child.stdout.take().context("the platform has no output")?;
        let mut lines = BufReader::new(output).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(url) = line.strip_prefix(READY) {
                    return Ok(url.to_owned());
                }
            }
            bail!("the platform ended before it was ready")
        };
        let url = tokio::time::timeout(PATIENCE, ready)
            .await
            .context("the platform was not ready in time")??;
        let ready_after = started.elapsed();
        // A full pipe would stop it.
        #[expect(clippy::disallowed_methods, reason = "no Lambda freezes the bench")]
        let output =
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            process_id,
            url,
            ready_after,
            started,
            _child: child,
            _output: output,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// When the process was started.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// How long it took until the platform said that it is ready.
    pub(super) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    pub(super) fn resident_bytes(&self) -> anyhow::Result<u64> {
        process::resident_bytes(self.process_id).context("the platform's memory")
    }

    pub(super) fn processor_time(&self) -> anyhow::Result<Duration> {
        process::processor_time(self.process_id).context("the platform's processor time")
    }
}
