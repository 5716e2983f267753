//! The channel between the caller and the process: events go one way, results the other.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::error::{BootstrapError, FunctionError};
use super::invocation_response::InvocationResponse;

/// The progress of the process.
#[derive(Debug)]
pub(super) enum Phase {
    Starting,
    /// It asked for its first event at this moment.
    Ready(Instant),
    InitFailed(FunctionError),
    Ended,
}

/// An event on its way to the process.
pub(super) struct Delivery {
    pub(super) request_id: String,
    pub(super) event: Bytes,
    pub(super) deadline_millis: i64,
    pub(super) result: ResultSender,
}

pub(super) type ResultSender = oneshot::Sender<Result<InvocationResponse, BootstrapError>>;

/// The channel between the caller and the process.
pub(super) struct InvocationChannel {
    phase: watch::Sender<Phase>,
    deliveries: mpsc::Sender<Delivery>,
    // Held across an await: its holder waits for the next event.
    waiting: tokio::sync::Mutex<mpsc::Receiver<Delivery>>,
    /// The event that the process works on.
    current: Mutex<Option<(String, ResultSender)>>,
    /// `true` if the process waits for an event, done with the one before.
    waits: watch::Sender<bool>,
}

impl InvocationChannel {
    pub(super) fn new() -> Self {
        let (deliveries, waiting) = mpsc::channel(1);
        Self {
            phase: watch::Sender::new(Phase::Starting),
            deliveries,
            waiting: tokio::sync::Mutex::new(waiting),
            current: Mutex::default(),
            waits: watch::Sender::new(false),
        }
    }

    /// Resolves once the process waits for an event, done with the one before. Who gave an answer may still have work to do.
    pub(super) async fn free(&self) {
        let mut waits = self.waits.subscribe();
        // The sender lives as long as `self`.
        drop(waits.wait_for(|waits| *waits).await);
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The process asked for an event; waits until there is one.
    pub(super) async fn next(&self) -> Option<(Bytes, String, i64)> {
        let now = Instant::now();
        self.phase.send_if_modified(|phase| {
            let first = matches!(phase, Phase::Starting);
            if first {
                *phase = Phase::Ready(now);
            }
            first
        });
        self.waits.send_replace(true);
        let delivery = self.waiting.lock().await.recv().await?;
        self.waits.send_replace(false);
        *self.current() = Some((delivery.request_id.clone(), delivery.result));
        Some((
            delivery.event,
            delivery.request_id,
            delivery.deadline_millis,
        ))
    }

    /// The process gave the result of an event. `false` when it is not the one that it works on.
    pub(super) fn finish(
        &self,
        request_id: &str,
        result: Result<InvocationResponse, BootstrapError>,
    ) -> bool {
        let current = self.current().take_if(|(id, _)| id == request_id);
        match current {
            Some((_, sender)) => {
                // A caller that stopped waiting needs no result.
                drop(sender.send(result));
                true
            }
            None => false,
        }
    }

    pub(super) fn init_failed(&self, error: FunctionError) {
        self.phase.send_replace(Phase::InitFailed(error));
    }

    pub(super) fn ended(&self) {
        // What it reported says more than that it ended.
        self.phase.send_if_modified(|phase| {
            let news = !matches!(phase, Phase::InitFailed(_));
            if news {
                *phase = Phase::Ended;
            }
            news
        });
    }

    /// Hands an event over, to be fetched.
    pub(super) async fn deliver(&self, delivery: Delivery) {
        // The receiver lives as long as `self`.
        drop(self.deliveries.send(delivery).await);
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<(String, ResultSender)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
