//! A function's binary, started.

use std::collections::HashMap;
use std::future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::TimeDelta;
use runtime::Clock;
use rustix::process::Pid;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::child::{self, Ending, Group};
use super::error::BootstrapError;
use super::invocation_channel::{Delivery, InvocationChannel, Phase};
use super::invocation_response::{InvocationResponse, PAYLOAD_LIMIT};
use super::log::Log;
use super::server::{Access, RuntimeApi};
use crate::process;

/// The time that Lambda lets a function initialise.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// The memory and processor time of a process when it first asked for an event.
#[derive(Clone, Copy, Debug)]
pub struct FirstNext {
    /// Since just before the process was started.
    pub after: Duration,
    /// `None` where the operating system does not say.
    pub resident_bytes: Option<u64>,
}

/// A running function. The process ends with the value, and so does everything that it started.
pub struct Bootstrap {
    process_id: Option<Pid>,
    first_next: FirstNext,
    channel: Arc<InvocationChannel>,
    ending: Arc<Ending>,
    clock: Clock,
    /// Lambda gives a process one event at a time.
    turn: tokio::sync::Mutex<()>,
    _access: Access,
    _tasks: JoinSet<()>,
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
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let (api, serving) = listener
            .and_then(|listener| RuntimeApi::at(listener, CancellationToken::new()))
            .map_err(BootstrapError::Listen)?;
        let log = Log::new(None);
        Self::start_with(binary.as_ref(), environment, &api, log, serving).await
    }

    /// Starts a process whose output goes to this process's log, under the function's name.
    pub(crate) async fn start_logged(
        binary: &Path,
        environment: &HashMap<String, String>,
        api: &RuntimeApi,
        function: &str,
    ) -> Result<Self, BootstrapError> {
        let log = Log::new(Some(function));
        Self::start_with(binary, environment, api, log, future::ready(())).await
    }

    /// Starts a process; `serving` goes on until it ends.
    async fn start_with(
        binary: &Path,
        environment: &HashMap<String, String>,
        api: &RuntimeApi,
        log: Log,
        serving: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, BootstrapError> {
        let unable = |source| BootstrapError::Spawn {
            binary: binary.to_owned(),
            source,
        };
        let channel = Arc::new(InvocationChannel::new());
        let name = environment.get("AWS_LAMBDA_FUNCTION_NAME");
        let function = name.map_or("function", String::as_str);
        let access = api.admit(channel.clone(), function);
        let mut tasks = JoinSet::new();
        tasks.spawn(serving);

        let command = child::command(binary, environment, &access.url()).map_err(unable)?;
        let started = Instant::now();
        let group = Group::spawn(command).map_err(unable)?;
        let process_id = group.id();
        let ending = Arc::new(Ending::new(log));
        tasks.spawn(group.attend(channel.clone(), ending.clone()));

        let asked = first_next(&channel, &ending).await?;
        let first_next = FirstNext {
            after: asked.duration_since(started),
            resident_bytes: resident_bytes(process_id).ok(),
        };
        Ok(Self {
            process_id,
            first_next,
            channel,
            ending,
            clock: Clock::system(),
            turn: tokio::sync::Mutex::default(),
            _access: access,
            _tasks: tasks,
        })
    }

    /// The process when it first asked for an event: the part of a cold start that is the function's own.
    pub fn first_next(&self) -> FirstNext {
        self.first_next
    }

    /// The memory that the process occupies now.
    ///
    /// # Errors
    /// The process has ended, or the operating system does not say.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        resident_bytes(self.process_id)
    }

    /// Hands the process an event and waits for its result. A function that takes longer than `timeout` is killed, as
    /// Lambda does, and takes no more events.
    ///
    /// # Errors
    /// The function reports one, times out, or its process ends.
    pub async fn invoke(&self, event: Value, timeout: Duration) -> Result<Value, BootstrapError> {
        let answer = self.answer(Bytes::from(event.to_string()), timeout).await?;
        let whole = answer.collect().await?;
        serde_json::from_slice(&whole).map_err(BootstrapError::Unreadable)
    }

    /// Does the same for a result as it comes: of a streamed one this gives the beginning.
    pub(crate) async fn answer(
        &self,
        event: Bytes,
        timeout: Duration,
    ) -> Result<InvocationResponse, BootstrapError> {
        if event.len() > PAYLOAD_LIMIT {
            return Err(BootstrapError::EventTooLarge(event.len()));
        }
        let _turn = self.turn.lock().await;
        let limit = TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX);
        let (sender, result) = oneshot::channel();
        let delivery = Delivery {
            request_id: Uuid::new_v4().to_string(),
            event,
            deadline_millis: (self.clock.now() + limit).timestamp_millis(),
            result: sender,
        };
        let answered = async {
            self.channel.deliver(delivery).await;
            result.await
        };
        tokio::select! {
            // A result that came counts, even if the process ended right after it.
            biased;
            answered = answered => answered.unwrap_or_else(|_| Err(self.ending.error())),
            () = self.ended() => Err(self.ending.error()),
            () = tokio::time::sleep(timeout) => {
                self.kill();
                Err(BootstrapError::TimedOut(timeout))
            }
        }
    }

    /// Waits until the process is done with the last event, which is when it asks for the next one.
    ///
    /// # Errors
    /// The process ends instead.
    pub(crate) async fn free(&self) -> Result<(), BootstrapError> {
        tokio::select! {
            () = self.channel.free() => Ok(()),
            () = self.ended() => Err(self.ending.error()),
        }
    }

    /// Resolves once the process takes no events any more.
    pub(crate) async fn ended(&self) {
        let mut phase = self.channel.phase();
        let ended = phase.wait_for(|phase| matches!(phase, Phase::Ended | Phase::InitFailed(_)));
        // The sender lives as long as `self`.
        drop(ended.await);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ending.has_come()
    }

    /// Ends the process. [`Bootstrap::ended`] says when it is gone.
    pub(crate) fn kill(&self) {
        self.ending.kill.cancel();
    }

    /// Does the same at once, for callers that are not async.
    pub(crate) fn kill_at_once(&self) {
        if !self.ending.has_come() {
            child::kill(self.process_id);
        }
    }
}

impl Drop for Bootstrap {
    fn drop(&mut self) {
        // The task that attends to the process would kill it as well, but perhaps not before this program ends.
        self.kill_at_once();
    }
}

/// The binary of this name, as `cargo build` makes it, or as `cargo lambda build` does: a directory with a `bootstrap` in it.
pub fn find_binary(directory: &Path, bin: &str) -> Option<PathBuf> {
    let candidates = [directory.join(bin).join("bootstrap"), directory.join(bin)];
    candidates.into_iter().find(|candidate| candidate.is_file())
}

fn resident_bytes(process_id: Option<Pid>) -> io::Result<u64> {
    let id = process_id.and_then(|id| u32::try_from(id.as_raw_nonzero().get()).ok());
    process::resident_bytes(id.ok_or(io::ErrorKind::NotFound)?)
}

async fn first_next(
    channel: &InvocationChannel,
    ending: &Ending,
) -> Result<Instant, BootstrapError> {
    let mut phase = channel.phase();
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
