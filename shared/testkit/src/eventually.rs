//! Waiting for what happens by itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits, on a machine that may be busy with other tests.
const MAX_WAIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `is_so`.
///
/// # Panics
/// It is not so for a minute: `what` says what has not happened.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + MAX_WAIT;
    while !is_so().await {
        assert!(Instant::now() < until, "did not happen: {what}");
        sleep(PAUSE).await;
    }
}
