//! Destinations of an answer's text while its model still writes.

use domain::Result;
use domain::run::StreamChunkEvent;

use crate::lease::LeasedRun;

/// Takes what is seen of an answer on its way.
pub(crate) trait StreamSink {
    /// Shows a piece of the answer of the run that `held` is. A piece that cannot be shown is left out: the answer is what counts, and
    /// it comes whole at its end.
    ///
    /// # Errors
    /// `Conflict` when another worker has the run by now.
    async fn show(&mut self, held: &mut LeasedRun<'_>, event: StreamChunkEvent) -> Result<()>;
}

/// The journal of the run, which event streams read.
pub(crate) struct JournalSink;

impl StreamSink for JournalSink {
    async fn show(&mut self, held: &mut LeasedRun<'_>, event: StreamChunkEvent) -> Result<()> {
        held.show(event).await
    }
}
