//! What a new data directory greets its owner with.

use crate::Platform;

/// Runs once the platform answers requests, before `ready` is printed. [`Platform::is_first_start`] says whether there is
/// anything to say.
pub(crate) async fn welcome(_platform: &Platform) -> anyhow::Result<()> {
    Ok(())
}
