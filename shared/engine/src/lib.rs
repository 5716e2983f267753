//! Durable runs: state machines without I/O, and the runner that carries them out.
//!
//! * [`agents`] — the types of agents: a file each, with its parameters, what it makes of a run, and its output.
//! * [`definition`] — what a run follows: an agent's version and the run's input, made into instructions and rules.
//! * [`machine`] — what every state machine of runs has; [`agent_loop`] is that of an agent. Pure and serialisable.
//! * [`Models`] — what runs may ask, with the organization's keys.
//! * [`Runner`] — takes a run as far as it goes, under a lease, writing every step before acting on it.
//! * [`Places`] — how many runs of an organization are worked on at once.
//! * [`Starter`] — accepts a run and tells the workers of it, over a [`RunQueue`].
//! * [`WorkspaceTools`] — what tools may do with the agents and runs of their run's workspace.
//! * [`Control`] — stops, pauses and continues runs.
//! * [`Endings`] — ends what must not go on once an agent, a workspace or an organization is deleted.
//! * [`give_up`] — ends a run that no worker could carry on.
//! * [`goes_alone`] — whether a run may have ended its worker.

pub mod agent_loop;
mod agent_runner;
pub mod agents;
mod backoff;
mod calls;
mod control;
pub mod definition;
mod deletion;
mod finish;
mod lease;
mod limits;
pub mod machine;
mod model_choice;
mod models;
mod outcome;
mod performer;
mod places;
mod progress;
mod provider_keys;
mod queue;
mod result;
mod run_head;
mod runner;
mod start;
mod stop;
mod stream_buffer;
mod stream_sink;
mod structured;
mod workspace;

pub use control::Control;
pub use deletion::Endings;
pub use finish::give_up;
pub use lease::goes_alone;
pub use limits::Limits;
pub use model_choice::ModelChoice;
pub use models::Models;
pub use places::Places;
pub use progress::Progress;
pub use provider_keys::ProviderKeys;
pub use queue::RunQueue;
pub use run_head::wake_at;
pub use runner::Runner;
pub use start::{NewRun, StartRun, Starter};
pub use structured::accept_output_schema;
pub use workspace::WorkspaceTools;
