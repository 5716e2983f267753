//! Work that no response waits for.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};

/// The time that the work of one invocation may take. What takes longer is given up.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

type Work = BoxFuture<'static, ()>;

/// Takes work that is to be done once the answer is on its way. It is the host who does it: in Lambda between the response and
/// the request for the next event, since Lambda freezes whatever still runs then; on one machine in a task that the end of the
/// platform waits for. Cheap to clone.
#[derive(Clone)]
pub struct BackgroundTasks(Arc<Mode>);

enum Mode {
    Deferred(Mutex<Vec<Work>>),
    Spawned(Box<dyn Fn(Work) + Send + Sync>),
}

impl BackgroundTasks {
    /// Holds work until [`Self::drain`].
    pub fn deferred() -> Self {
        Self(Arc::new(Mode::Deferred(Mutex::default())))
    }

    /// Gives work to `start` at once.
    pub fn spawned_by(start: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Mode::Spawned(Box::new(start))))
    }

    /// Has `work` done. Its outcome is not returned, so it logs its own failures.
    pub fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work: Work = Box::pin(work);
        match &*self.0 {
            Mode::Deferred(held) => held
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(work),
            Mode::Spawned(start) => start(work),
        }
    }

    /// Does what is held, side by side.
    pub async fn drain(&self) {
        let Mode::Deferred(held) = &*self.0 else {
            return;
        };
        let work = std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
        if work.is_empty() {
            return;
        }
        let all = join_all(work);
        if tokio::time::timeout(FINISH_WITHIN, all).await.is_err() {
            tracing::warn!("work after a response took too long and was given up");
        }
    }
}
