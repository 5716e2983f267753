//! DynamoDB by dynoxide, on a thread and a runtime of its own: its calls block on the one lock around `SQLite`.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use dynoxide::{Database, storage_backend};
use runtime::Clock;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::authenticator::{Authenticator, Protocol};
use super::{dynamodb_tables, dynamodb_wire};
use crate::template::Table;

/// DynamoDB takes requests of 16 MB.
pub(crate) const PROTOCOL: Protocol = Protocol {
    service: "dynamodb",
    largest_body: 16 * 1024 * 1024,
};

/// The interval at which expired items are removed, as long as a sweep is short. Readers look at the expiry themselves, as they must in AWS.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// A sweep reads all items of a table, so there is a pause after it that is so many times as long.
const SWEEP_SHARE: u32 = 100;
/// The time that requests may still run after the stop.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The storage of items.
pub(crate) enum Storage {
    File(PathBuf),
    /// In memory; items expire by this clock.
    Memory(Clock),
}

/// The running service. Dropping it closes the storage, for which requests that run are waited for.
pub(crate) struct DynamoDb {
    stop: CancellationToken,
    stopped: oneshot::Receiver<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl DynamoDb {
    /// Opens the storage, makes the tables fit and serves what `authenticator` lets through. The listener must be non-blocking. Resolves
    /// once requests succeed.
    pub(crate) async fn start(
        listener: TcpListener,
        authenticator: Authenticator,
        storage: Storage,
        tables: Vec<Table>,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let (ready, when_ready) = oneshot::channel();
        let (done, stopped) = oneshot::channel();
        let thread_stop = stop.clone();
        let thread = thread::Builder::new()
            .name("dynamodb".to_owned())
            .spawn(move || {
                match open(storage, &tables) {
                    Ok(database) => run(listener, authenticator, database, thread_stop, ready),
                    Err(error) => drop(ready.send(Err(error))),
                }
                // Fails when no caller waits for the end, as after a drop.
                let _ = done.send(());
            })?;
        let service = Self {
            stop,
            stopped,
            thread: Some(thread),
        };
        when_ready
            .await
            .map_err(|_| anyhow!("DynamoDB ended while starting"))??;
        Ok(service)
    }

    /// Lets running requests finish and closes the storage.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        // An error means that the thread is gone, which is as good.
        drop((&mut self.stopped).await);
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(Err(_)) = self.thread.take().map(thread::JoinHandle::join) {
            tracing::error!("DynamoDB panicked");
        }
    }
}

fn open(storage: Storage, tables: &[Table]) -> anyhow::Result<Database> {
    let database = match storage {
        Storage::File(path) => {
            let text = path
                .to_str()
                .with_context(|| format!("{} is not UTF-8", path.display()))?;
            // Made first, for its mode: SQLite gives the files beside it the same.
            let mut options = OpenOptions::new();
            options.create(true).append(true).mode(0o600);
            options
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            let database =
                Database::new(text).with_context(|| format!("cannot open {}", path.display()))?;
            // Despite its name this is what sets `synchronous = NORMAL`: in WAL mode every acknowledged write then survives
            // the end of this process, and only a power cut may cost the last ones. A commit costs no fsync.
            database.disable_bulk_loading()?;
            database
        }
        Storage::Memory(clock) => {
            Database::memory_with_clock(std::sync::Arc::new(ExpiryClock(clock)))?
        }
    };
    for table in tables {
        dynamodb_tables::ensure(&database, table)?;
    }
    Ok(database)
}

fn run(
    listener: TcpListener,
    authenticator: Authenticator,
    database: Database,
    stop: CancellationToken,
    ready: oneshot::Sender<anyhow::Result<()>>,
) {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    runtime.block_on(async {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return drop(ready.send(Err(error.into()))),
        };
        let sweeper = runtime.spawn(sweep(database.clone()));
        drop(ready.send(Ok(())));
        // On this thread, as the database has one lock for all that is done with it.
        let answer = move |head, body| {
            let answered = dynamodb_wire::answer(&database, &head, &body);
            std::future::ready(answered)
        };
        authenticator
            .serve(listener, answer, stop, STOP_WITHIN)
            .await;
        sweeper.abort();
    });
    runtime.shutdown_timeout(STOP_WITHIN);
}

async fn sweep(database: Database) {
    loop {
        let started = tokio::time::Instant::now();
        let database = database.clone();
        // On another thread: between its pages the sweep gives way to requests, which this one serves.
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(items)) => tracing::debug!(items, "removed expired items"),
            Ok(Err(error)) => tracing::warn!(%error, "expired items could not be removed"),
            Err(error) => tracing::warn!(%error, "expired items could not be removed"),
        }
        let pause = SWEEP_INTERVAL.max(started.elapsed() * SWEEP_SHARE);
        tokio::time::sleep(pause).await;
    }
}

struct ExpiryClock(Clock);

impl storage_backend::Clock for ExpiryClock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.0.now().timestamp()).unwrap_or_default()
    }

    fn now_unix_secs_f64(&self) -> f64 {
        self.0.now().timestamp_millis() as f64 / 1000.0
    }
}
