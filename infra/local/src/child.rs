//! A platform in a process of its own: it can be killed, and its memory and processor time told from those of its clients.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::TemplateSource;
use crate::process;

const READY: &str = "ready ";
const MAX_WAIT: Duration = Duration::from_secs(30);

/// `signalbox local`. The process ends with the value.
pub struct ChildPlatform {
    process_id: u32,
    url: String,
    greeting: Vec<String>,
    ready_after: Duration,
    started: Instant,
    child: Child,
    _output: JoinHandle<()>,
}

impl ChildPlatform {
    /// Starts a platform that keeps its data in `directory`, or nowhere, and waits until it is ready.
    pub async fn start(
        template: &TemplateSource,
        directory: Option<&Path>,
        parameters: &[String],
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program is not known")?;
        let mut command = Command::new(program);
        command
            .args(["local", "--port", "0", "--log", "error"])
            .args(
                parameters
                    .iter()
                    .flat_map(|parameter| ["--param", parameter]),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        // Where none was found here, none is found by it.
        if let TemplateSource::File(file) = template {
            command.arg("--template").arg(file);
        }
        match directory {
            Some(directory) => command.arg("--data-dir").arg(directory),
            None => command.arg("--ephemeral"),
        };
        let started = Instant::now();
        let mut child = command.spawn()?;
        let process_id = child.id().unwrap_or_default();
        let output = child.stdout.take().context("the platform has no output")?;
        let mut lines = BufReader::new(output).lines();
        let mut greeting = Vec::new();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(url) = line.strip_prefix(READY) {
                    return Ok(url.to_owned());
                }
                greeting.push(line);
            }
            bail!("the platform ended before it was ready")
        };
        let url = tokio::time::timeout(MAX_WAIT, ready)
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
            greeting,
            ready_after,
            started,
            child,
            _output: output,
        })
    }

    /// Ends it like a power cut.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// The text behind `name` in the lines that the platform printed before it was ready.
    pub fn greeted(&self, name: &str) -> anyhow::Result<&str> {
        let mut lines = self.greeting.iter().map(|line| line.trim());
        let found = lines.find_map(|line| line.strip_prefix(name));
        Ok(found
            .with_context(|| format!("the platform did not print {name}"))?
            .trim())
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The time when the process was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The time that it took until the platform said that it is ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        process::resident_bytes(self.process_id).context("the platform's memory")
    }

    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        process::processor_time(self.process_id).context("the platform's processor time")
    }
}
