//! A function's processes, as Lambda has execution environments: each works on one event at a time, one that is free is taken
//! before another is started, and one that is not needed ends.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::invocation::Invoker;
use crate::runtime_api::{
    Bootstrap, BootstrapError, InvocationResponse, PAYLOAD_LIMIT, RuntimeApi,
};

/// The number of processes that a function may have where the template says nothing.
const DEFAULT_CONCURRENCY: usize = 10;
/// The same for a function that streams: a stream whose client has left still holds its process.
const DEFAULT_STREAMS: usize = 100;
/// The time that a request waits while all processes that the template reserves are busy. Lambda would not wait, but it would not
/// be as busy either.
const RESERVED: Duration = Duration::from_secs(3);
/// The time that it waits where the template reserves none: Lambda would have started more.
const UNRESERVED: Duration = Duration::from_secs(25);
/// The time that a process that has answered, and only has to ask for its next event, is waited for: another would not have
/// started by then.
const ABOUT_TO_BE_FREE: Duration = Duration::from_millis(100);
/// The time that the end of killed processes is waited for.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The time that an invocation waits while all processes of its function are busy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QueueWait {
    /// A client waits for the answer.
    Brief,
    /// The event can wait.
    Endless,
}

/// The binary of a function's processes, and the limits that hold for them.
pub(crate) struct Program {
    /// The interface that its processes get their events from.
    pub(crate) runtime_api: RuntimeApi,
    /// The function's logical id.
    pub(crate) function: String,
    pub(crate) binary: PathBuf,
    pub(crate) environment: HashMap<String, String>,
    /// The time that an invocation may take.
    pub(crate) timeout: Duration,
    /// The most processes, if the template says so.
    pub(crate) reserved: Option<usize>,
    /// The number of batches of messages that its event sources bring at once.
    pub(crate) batches: usize,
    pub(crate) is_streaming: bool,
}

/// The processes of one function.
pub(crate) struct Pool {
    program: Program,
    concurrency: usize,
    /// The time that a request waits for one of them.
    patience: Duration,
    slots: Arc<Semaphore>,
    /// The one that worked last comes last.
    idle: Mutex<Vec<Idle>>,
    /// The number of those that have answered and are not free yet.
    finishing: AtomicUsize,
    news: Notify,
    alive: Mutex<Vec<Weak<Bootstrap>>>,
    end: CancellationToken,
    /// Says that no client is served any more.
    stop: CancellationToken,
    invoker: Invoker,
}

struct Idle {
    process: Arc<Bootstrap>,
    since: Instant,
}

impl Pool {
    /// A function without a process yet. After `stop` no client is served any more.
    pub(crate) fn new(program: Program, stop: CancellationToken, invoker: Invoker) -> Self {
        let (concurrency, patience) = match program.reserved {
            Some(reserved) => (reserved, RESERVED),
            None if program.is_streaming => (DEFAULT_STREAMS, UNRESERVED),
            None => (DEFAULT_CONCURRENCY.max(program.batches), UNRESERVED),
        };
        Self {
            program,
            concurrency,
            patience,
            slots: Arc::new(Semaphore::new(concurrency)),
            idle: Mutex::default(),
            finishing: AtomicUsize::new(0),
            news: Notify::new(),
            alive: Mutex::default(),
            end: CancellationToken::new(),
            stop,
            invoker,
        }
    }

    /// The time that an invocation may take, the start of a process aside.
    pub(crate) fn timeout(&self) -> Duration {
        self.program.timeout
    }

    /// Invokes the function. It works on to its end even if the caller has stopped waiting, and the platform's end waits for it.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        event: Bytes,
        patience: QueueWait,
    ) -> Result<InvocationResponse, Failure> {
        if event.len() > PAYLOAD_LIMIT {
            return Err(BootstrapError::EventTooLarge(event.len()).into());
        }
        let (sender, answer) = oneshot::channel();
        let pool = self.clone();
        self.invoker.spawn(async move {
            match pool.slot(patience).await {
                Ok(slot) => pool.work(event, sender, slot).await,
                Err(failure) => drop(sender.send(Err(failure))),
            }
        });
        answer.await.unwrap_or(Err(Failure::Ending))
    }

    async fn slot(&self, patience: QueueWait) -> Result<OwnedSemaphorePermit, Failure> {
        let slot = self.slots.clone().acquire_owned();
        let slot = match patience {
            QueueWait::Endless => slot.await,
            QueueWait::Brief => tokio::time::timeout(self.patience, slot)
                .await
                .map_err(|_| Failure::Throttled(self.concurrency))?,
        };
        // The slots are never closed.
        slot.map_err(|_| Failure::Ending)
    }

    async fn work(
        &self,
        event: Bytes,
        sender: oneshot::Sender<Result<InvocationResponse, Failure>>,
        _slot: OwnedSemaphorePermit,
    ) {
        let process = match self.process().await {
            Ok(process) => process,
            Err(failure) => return drop(sender.send(Err(failure))),
        };
        let started = tokio::time::Instant::now();
        let answer = process.answer(event, self.program.timeout).await;
        let is_alive = matches!(answer, Ok(_) | Err(BootstrapError::Function(_)));
        let is_streamed = matches!(answer, Ok(InvocationResponse::Streamed(_)));
        // A stream may take its time.
        let finishing = usize::from(!is_streamed);
        self.finishing.fetch_add(finishing, Ordering::SeqCst);
        drop(sender.send(answer.map_err(Failure::from)));
        // What a function does between its answer and its next event, and what of its answer is still to come, is part of
        // the invocation.
        let is_free = tokio::select! {
            free = process.free() => free.is_ok(),
            () = tokio::time::sleep_until(started + self.program.timeout) => false,
            // The client is not served any more.
            () = self.stop.cancelled(), if is_streamed => false,
        };
        let is_usable = is_alive && is_free;
        if is_usable {
            self.give_back(process.clone());
        }
        self.finishing.fetch_sub(finishing, Ordering::SeqCst);
        self.news.notify_waiters();
        if !is_usable {
            process.kill();
            process.ended().await;
        }
    }

    /// A process that waits for an event: a free one, else a new one.
    async fn process(&self) -> Result<Arc<Bootstrap>, Failure> {
        let mut until = None;
        loop {
            // Before the look, so that nothing that happens after it is missed.
            let news = self.news.notified();
            if let Some(process) = self.free_process() {
                return Ok(process);
            }
            if self.finishing.load(Ordering::SeqCst) == 0 {
                break;
            }
            let until =
                *until.get_or_insert_with(|| tokio::time::Instant::now() + ABOUT_TO_BE_FREE);
            if tokio::time::timeout_at(until, news).await.is_err() {
                break;
            }
        }
        let start = Bootstrap::start_logged(
            &self.program.binary,
            &self.program.environment,
            &self.program.runtime_api,
            &self.program.function,
        );
        let started = tokio::select! {
            started = start => started,
            () = self.end.cancelled() => return Err(Failure::Ending),
        };
        let process = Arc::new(started?);
        tracing::debug!(
            function = self.program.function,
            init_ms = process.first_next().after.as_millis(),
            "a function's process started"
        );
        let mut alive = lock(&self.alive);
        alive.retain(|process| process.strong_count() > 0);
        alive.push(Arc::downgrade(&process));
        // `kill` cancels `end` before it goes through the processes, so it may have missed this one.
        if self.end.is_cancelled() {
            process.kill();
        }
        Ok(process)
    }

    fn free_process(&self) -> Option<Arc<Bootstrap>> {
        let mut idle = self.idle();
        loop {
            let process = idle.pop()?.process;
            if !process.has_ended() {
                return Some(process);
            }
        }
    }

    fn give_back(&self, process: Arc<Bootstrap>) {
        let since = Instant::now();
        self.idle().push(Idle { process, since });
    }

    /// Ends the processes that have had nothing to do for this long.
    fn reap(&self, idle_for: Duration) {
        self.idle()
            .retain(|idle| idle.since.elapsed() < idle_for && !idle.process.has_ended());
    }

    /// Kills all processes; gives those that have not ended yet.
    fn kill(&self) -> Vec<Arc<Bootstrap>> {
        self.end.cancel();
        let alive: Vec<_> = lock(&self.alive).drain(..).collect();
        let alive: Vec<_> = alive.iter().filter_map(Weak::upgrade).collect();
        alive.iter().for_each(|process| process.kill());
        self.idle().clear();
        alive
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        lock(&self.idle)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The processes of all functions. They end with the value.
#[derive(Default)]
pub(crate) struct Pools(Vec<Arc<Pool>>);

impl Pools {
    pub(crate) fn add(&mut self, pool: Arc<Pool>) {
        self.0.push(pool);
    }

    /// Ends what has had nothing to do for `idle_for`, until `stop`.
    pub(crate) fn reap(
        &self,
        idle_for: Duration,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let pools = self.0.clone();
        async move {
            let mut ticks = tokio::time::interval((idle_for / 4).max(Duration::from_millis(10)));
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => pools.iter().for_each(|pool| pool.reap(idle_for)),
                }
            }
        }
    }

    /// Kills all processes and waits until they are gone.
    pub(crate) async fn stop(&self) {
        let alive: Vec<_> = self.0.iter().flat_map(|pool| pool.kill()).collect();
        let ended = join_all(alive.iter().map(|process| process.ended()));
        if tokio::time::timeout(END_WITHIN, ended).await.is_err() {
            tracing::warn!("processes of functions do not end");
        }
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        for process in self.0.iter().flat_map(|pool| pool.kill()) {
            process.kill_at_once();
        }
    }
}
