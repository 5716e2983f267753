//! The I/O of a state machine: what carries its actions out.

use domain::Result;

use crate::calls::Deadlines;
use crate::lease::LeasedRun;
use crate::machine::Machine;
use crate::progress::Progress;

/// Does what a machine says to a run that is leased.
pub(crate) trait Performer<M: Machine> {
    /// Returns `true` if this worker has the time for an action with an effect.
    fn has_time(&self, action: &M::Action, machine: &M, deadlines: Deadlines<'_>) -> bool;

    /// Does it and tells the machine what came of it; how far the worker has come, once the run is over.
    async fn perform(
        &mut self,
        action: M::Action,
        machine: &mut M,
        held: &mut LeasedRun<'_>,
        deadlines: Deadlines<'_>,
    ) -> Result<Option<Progress>>;
}
