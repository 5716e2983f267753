//! What a new data directory greets its owner with.

use crate::Platform;

/// Runs once the platform answers requests, before `ready` is printed.
#[expect(clippy::unused_async, reason = "what goes here talks to the platform")]
pub(crate) async fn welcome(_platform: &Platform) -> anyhow::Result<()> {
    Ok(())
}
