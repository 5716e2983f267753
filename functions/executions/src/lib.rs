//! Executions: runs of agents, carried out and looked at.

mod control;
pub mod dead_letters;
mod executions;
mod listing;
mod messages;
mod runs;
mod wait_until;
pub mod worker;

pub use dead_letters::dead_letters;
pub use worker::worker;

use engine::{Control, RunQueue, Starter};
use keyring::Keyring;
use runtime::{Lambda, Services};
use web::{AppContext, Routes};

/// The state of the handlers.
#[derive(Clone)]
pub struct State {
    context: AppContext,
    starter: Starter,
    control: Control,
}

web::app_state!(State);

/// Builds the function that starts executions and shows them. Fetches the secret, which the first session needs.
///
/// # Errors
/// `RUN_QUEUE_URL` is not set, or the secret cannot be had.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let queue = RunQueue::new(&services)?;
    let clock = services.clock.clone();
    let context = AppContext::new(services);
    let starter = Starter::new(context.store.clone(), queue, clock.clone());
    let state = State {
        control: Control::new(context.store.clone(), clock, starter.clone()),
        context: context.clone(),
        starter,
    };
    let router = web::serve(context, routes(), state);
    Ok(Lambda::Http(router))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> Routes<State> {
    executions::routes()
        .merge(control::routes())
        .merge(runs::routes())
        .merge(messages::routes())
}
