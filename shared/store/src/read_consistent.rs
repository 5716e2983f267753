//! Reading what transactions write, which queries are not isolated from.

use std::time::Duration;

use domain::{Error, Result};

/// How often a run is read that is just being written.
const ATTEMPTS: u32 = 5;

/// Reads until what was read belongs together. A query may see a part of what a transaction writes, the head before the steps
/// for instance; a moment later it sees all of it.
pub(crate) async fn read_consistent<T, F>(read: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    for attempt in 0..ATTEMPTS {
        if let Some(whole) = read().await? {
            return Ok(whole);
        }
        tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
    }
    Err(Error::unavailable("a run could not be read whole"))
}
