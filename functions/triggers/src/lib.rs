//! Triggers: what makes agents run, from outside and by the clock.

mod request_counts;
mod signals;
pub mod tick;

pub use tick::tick;

use engine::{RunQueue, Starter};
use runtime::{Lambda, Services};
use web::{AppContext, Routes};

/// The state of the handlers.
#[derive(Clone)]
pub struct State {
    context: AppContext,
    starter: Starter,
}

web::app_state!(State);

/// Builds the function that takes signals.
///
/// # Errors
/// `RUN_QUEUE_URL` is not set.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    let queue = RunQueue::new(&services)?;
    let clock = services.clock.clone();
    let context = AppContext::new(services);
    let starter = Starter::new(context.store.clone(), queue, clock);
    let state = State {
        context: context.clone(),
        starter,
    };
    let router = web::serve(context, routes(), state);
    Ok(Lambda::Http(router))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> Routes<State> {
    signals::routes()
}
