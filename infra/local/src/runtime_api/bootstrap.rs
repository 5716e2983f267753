//! A function's binary, started.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::TimeDelta;
use runtime::Clock;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::desk::{Delivery, Desk, Phase};
use super::error::BootstrapError;
use super::log::Log;
use super::server::{self, PAYLOAD_LIMIT};
use crate::process;

/// How long Lambda lets a function initialise.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// How long the last words of an ended process are waited for: whoever inherited its output may keep it open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a process was when it first asked for an event.
#[derive(Clone, Copy, Debug)]
pub struct FirstNext {
    /// Since just before the process was started.
    pub after: Duration,
    /// `None` where the operating system does not say.
    pub resident_bytes: Option<u64>,
}

/// A running function. The process ends with the value.
pub struct Bootstrap {
    process_id: u32,
    first_next: FirstNext,
    desk: Arc<Desk>,
    ending: Arc<Ending>,
    clock: Clock,
    /// Lambda gives a process one event at a time.
    turn: tokio::sync::Mutex<()>,
    _tasks: JoinSet<()>,
}

/// The end of the process: to be brought about, and how it was.
#[derive(Default)]
struct Ending {
    kill: CancellationToken,
    status: OnceLock<Option<ExitStatus>>,
    log: Log,
}

impl Ending {
    fn error(&self) -> BootstrapError {
        BootstrapError::Ended {
            status: self.status.get().copied().flatten(),
            log: self.log.text(),
        }
    }
}

impl Bootstrap {
    /// Starts `binary` and waits until it asks for its first event. Its environment is `environment` and what Lambda adds,
    /// nothing of this process's own; its directory is the one that it lies in.
    ///
    /// # Errors
    /// The binary cannot be run, ends before it asks for an event, or does not ask for one in time.
    pub async fn start(
        binary: impl AsRef<Path>,
        environment: &HashMap<String, String>,
    ) -> Result<Self, BootstrapError> {
        let binary = binary.as_ref();
        let unable = |source| BootstrapError::Spawn {
            binary: binary.to_owned(),
            source,
        };
        let desk = Arc::new(Desk::new());
        let name = environment.get("AWS_LAMBDA_FUNCTION_NAME");
        let function = name.map_or("function", String::as_str);
        let (address, serving) = server::start(desk.clone(), function)
            .await
            .map_err(BootstrapError::Listen)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serving);

        let mut command = command(binary, environment, &address.to_string()).map_err(unable)?;
        let started = Instant::now();
        let child = command.spawn().map_err(unable)?;
        let process_id = child.id().unwrap_or_default();
        let ending = Arc::new(Ending::default());
        tasks.spawn(attend(child, desk.clone(), ending.clone()));

        let asked = first_next(&desk, &ending).await?;
        let first_next = FirstNext {
            after: asked.duration_since(started),
            resident_bytes: process::resident_bytes(process_id).ok(),
        };
        Ok(Self {
            process_id,
            first_next,
            desk,
            ending,
            clock: Clock::system(),
            turn: tokio::sync::Mutex::default(),
            _tasks: tasks,
        })
    }

    /// How the process was when it first asked for an event: the part of a cold start that is the function's own.
    pub fn first_next(&self) -> FirstNext {
        self.first_next
    }

    /// The memory that the process occupies now.
    ///
    /// # Errors
    /// The process has ended, or the operating system does not say.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        process::resident_bytes(self.process_id)
    }

    /// Hands the process an event and waits for its result. A function that takes longer than `timeout` is killed, as
    /// Lambda does, and takes no more events.
    ///
    /// # Errors
    /// The function reports one, times out, or its process ends.
    pub async fn invoke(&self, event: Value, timeout: Duration) -> Result<Value, BootstrapError> {
        let event = Bytes::from(event.to_string());
        if event.len() > PAYLOAD_LIMIT {
            return Err(BootstrapError::EventTooLarge(event.len()));
        }
        let _turn = self.turn.lock().await;
        let mut phase = self.desk.phase();
        let ended = phase.wait_for(|phase| matches!(phase, Phase::Ended | Phase::InitFailed(_)));
        let limit = TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX);
        let (sender, result) = oneshot::channel();
        let delivery = Delivery {
            request_id: Uuid::new_v4().to_string(),
            event,
            deadline_millis: (self.clock.now() + limit).timestamp_millis(),
            result: sender,
        };
        let answered = async {
            self.desk.deliver(delivery).await;
            result.await
        };
        tokio::select! {
            // A result that came counts, even if the process ended right after it.
            biased;
            answered = answered => match answered {
                Ok(body) => serde_json::from_slice(&body?).map_err(BootstrapError::Unreadable),
                Err(_) => Err(self.ending.error()),
            },
            _ = ended => Err(self.ending.error()),
            () = tokio::time::sleep(timeout) => {
                self.ending.kill.cancel();
                Err(BootstrapError::TimedOut(timeout))
            }
        }
    }
}

fn command(
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

/// Stays with the process to its end.
async fn attend(mut child: Child, desk: Arc<Desk>, ending: Arc<Ending>) {
    let mut readers = JoinSet::new();
    if let Some(output) = child.stdout.take() {
        readers.spawn(ending.log.clone().follow(output));
    }
    if let Some(output) = child.stderr.take() {
        readers.spawn(ending.log.clone().follow(output));
    }
    let status = tokio::select! {
        status = child.wait() => status.ok(),
        () = ending.kill.cancelled() => {
            if let Err(error) = child.kill().await {
                tracing::warn!(%error, "a function's process cannot be killed");
            }
            None
        }
    };
    let all_read = async { while readers.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, all_read).await.is_err() {
        tracing::debug!("the output of an ended process is still open");
    }
    ending.status.get_or_init(|| status);
    desk.ended();
}

async fn first_next(desk: &Desk, ending: &Ending) -> Result<Instant, BootstrapError> {
    let mut phase = desk.phase();
    let settled = phase.wait_for(|phase| !matches!(phase, Phase::Starting));
    match tokio::time::timeout(INIT_LIMIT, settled).await {
        Err(_) => Err(BootstrapError::InitTimeout(INIT_LIMIT)),
        Ok(Err(_)) => Err(ending.error()),
        Ok(Ok(phase)) => match &*phase {
            Phase::Ready(at) => Ok(*at),
            Phase::InitFailed(error) => Err(BootstrapError::Init(error.clone())),
            Phase::Starting | Phase::Ended => Err(ending.error()),
        },
    }
}
