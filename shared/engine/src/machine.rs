//! State machines of runs: what a run does next is the fold of its journal.
//!
//! One journal, one lease and one [`crate::Runner`] carry out every machine. A machine has no I/O of its own: it says what is to be done,
//! is told what came of it, and keeps what it is told until that is stored. The loop of an agent is [`crate::agent_loop`].

use domain::run::{Step, StepEvent, TokenUsage};

use crate::limits::Limits;

/// The journal does not tell a story that this machine could have lived.
#[derive(Debug, thiserror::Error)]
#[error("step {0} of the journal does not follow from those before it")]
pub struct BrokenJournal(usize);

/// The effect of an action outside the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it is about the state and the journal.
    None,
    /// It begins something outside. A pause that is requested comes first, and a run without a place waits for one.
    Begins,
    /// It goes on with what was begun.
    Continues,
}

/// A run's state machine.
pub trait Machine: Sized {
    /// The definition that the machine follows beside its journal.
    type Definition;
    /// Something to be done next.
    type Action;

    /// The state of a run that has no journal.
    fn new(definition: Self::Definition) -> Self;

    /// Returns `true` if `event` can be the next in the journal.
    fn follows(&self, event: &StepEvent) -> bool;

    /// Takes an event of the journal in.
    fn apply(&mut self, event: &StepEvent);

    /// The journal was read by a worker that was not there when it was written.
    fn resume(&mut self);

    /// The next action.
    fn next(&self) -> Self::Action;

    fn effect(action: &Self::Action) -> Effect;

    /// The run cannot go on.
    fn fail(&mut self, why: String);

    /// The events that have happened and are not stored.
    fn unwritten(&self) -> &[StepEvent];

    /// All events are stored.
    fn written(&mut self);

    /// Whatever is about to be begun is not begun now: none of the intents among the unwritten events is stored.
    fn withdraw_intents(&mut self);

    /// The tokens that the models have read and written so far.
    fn usage(&self) -> TokenUsage;

    /// Their cost, in millionths of a US dollar.
    fn cost_micros(&self) -> u64;

    /// The limits on the run's usage.
    fn limits(&self) -> &Limits;

    /// The state of a run at the end of its journal.
    ///
    /// # Errors
    /// The journal is not one of this machine.
    fn replay(definition: Self::Definition, journal: &[Step]) -> Result<Self, BrokenJournal> {
        let mut state = Self::new(definition);
        for (position, step) in journal.iter().enumerate() {
            if step.index as usize != position || !state.follows(&step.event) {
                return Err(BrokenJournal(position));
            }
            state.apply(&step.event);
        }
        state.resume();
        Ok(state)
    }
}
