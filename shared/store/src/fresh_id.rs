//! Identifiers that may meet others: integers of 53 bits, which Prowpt's objects have.

use domain::{Error, Result};

/// The number of identifiers that are tried.
const ATTEMPTS: u32 = 5;

/// Creates something under an identifier that nothing has: `create` writes it on the condition that it is absent, and another one is tried
/// when that does not hold.
///
/// # Errors
/// Those of `create`; its `Conflict` only when all identifiers were taken.
pub async fn with_fresh_id<I, T>(
    fresh: impl Fn() -> I,
    create: impl AsyncFn(I) -> Result<T>,
) -> Result<T> {
    let mut attempt = 1;
    loop {
        match create(fresh()).await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn an_id_that_is_taken_is_passed_over_and_a_failure_is_not_repeated() {
        let last = Cell::new(0);
        let fresh = || {
            last.set(last.get() + 1);
            last.get()
        };
        let taken = |id: u32| Err(Error::Conflict(format!("{id} is there")));
        let second = with_fresh_id(fresh, async |id| if id < 2 { taken(id) } else { Ok(id) });
        assert_eq!(second.await.unwrap(), 2);
        let failing = with_fresh_id(fresh, async |_| Err::<(), _>(Error::unavailable("it is")));
        assert!(failing.await.unwrap_err().is_retryable());
        assert_eq!(last.get(), 3);
        assert!(
            with_fresh_id(fresh, async |id| Err::<(), _>(taken(id).unwrap_err()))
                .await
                .is_err()
        );
        assert_eq!(last.get(), 8);
    }
}
