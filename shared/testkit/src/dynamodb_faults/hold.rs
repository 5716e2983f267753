//! Calls that wait, for tests of what happens between two steps of a request.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::{Call, Calls};

/// The time that a test waits for the calls.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Calls that are held back until [`Self::let_go`]. They are let go also when this is dropped.
pub struct Held {
    arrived: watch::Receiver<HashSet<String>>,
    open: watch::Sender<()>,
}

impl Held {
    /// Waits until this many of the calls have come, repetitions not counted.
    pub async fn arrived(&mut self, calls: usize) {
        let arrived = self.arrived.wait_for(|arrived| arrived.len() >= calls);
        let arrived = timeout(MAX_WAIT, arrived).await;
        let arrived = arrived.expect("the calls that are to be held, in time");
        arrived.expect("a proxy that serves");
    }

    /// Lets the calls go on, and all others pass.
    pub fn let_go(self) {
        drop(self.open);
    }
}

/// The proxy's side of [`Held`].
#[derive(Debug)]
pub(super) struct Hold {
    calls: Calls,
    /// The bodies of the calls that have come.
    arrived: watch::Sender<HashSet<String>>,
    open: watch::Receiver<()>,
}

impl Hold {
    pub(super) fn of(calls: Calls) -> (Self, Held) {
        let (arrived, seen) = watch::channel(HashSet::new());
        let (open, opened) = watch::channel(());
        let hold = Self {
            calls,
            arrived,
            open: opened,
        };
        let held = Held {
            arrived: seen,
            open,
        };
        (hold, held)
    }

    /// The event that a call waits for, if it is to be held.
    pub(super) fn wait(&self, call: &Call<'_>) -> Option<impl Future<Output = ()> + use<>> {
        if self.open.has_changed().is_err() || !self.calls.include(call) {
            return None;
        }
        self.arrived.send_modify(|arrived| {
            arrived.insert(call.body.to_owned());
        });
        let mut open = self.open.clone();
        // Ends with the sender.
        Some(async move { while open.changed().await.is_ok() {} })
    }
}
