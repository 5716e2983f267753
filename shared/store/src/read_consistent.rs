//! Reading what transactions write, which queries are not isolated from.

use std::time::Duration;

use domain::{Error, Result};

/// The number of times that a run is read that is just being written.
const ATTEMPTS: u32 = 5;

/// Retries until the read is consistent: a Query is not isolated from `TransactWriteItems` and may observe a transaction partially.
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
