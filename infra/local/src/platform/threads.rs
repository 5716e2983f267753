//! The runtime that functions, gateway and queues run on.

use std::ops::RangeInclusive;
use std::{io, thread};

use tokio::runtime::{Builder, Handle, Runtime};

/// The number of threads.
const COUNT: RangeInclusive<usize> = 2..=8;

/// A runtime that may be dropped anywhere, also in async code. What runs on it then ends at its next await.
pub(super) struct Threads {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Threads {
    pub(super) fn new() -> io::Result<Self> {
        let count = thread::available_parallelism()
            .map_or(*COUNT.start(), usize::from)
            .clamp(*COUNT.start(), *COUNT.end());
        let runtime = Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name("signalbox")
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
