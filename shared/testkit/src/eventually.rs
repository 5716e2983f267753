//! Waiting for what happens by itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The time that a test waits, on a machine that may be busy with other tests.
const MAX_WAIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `is_so`.
///
/// # Panics
/// It is not so for a minute: `what` says what has not happened.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    eventually_some(what, async || is_so().await.then_some(())).await;
}

/// Waits until `look` finds something.
///
/// # Panics
/// It finds nothing for a minute: `what` says what has not happened.
pub async fn eventually_some<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + MAX_WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "did not happen: {what}");
        sleep(PAUSE).await;
    }
}
