//! Executions: runs of agents, carried out and looked at.

mod control;
pub mod dead_letters;
mod executions;
mod listing;
mod messages;
mod provider_keys;
mod runs;
mod wait_until;
pub mod worker;

pub use dead_letters::dead_letters;
pub use worker::worker;

use auth::Keyring;
use engine::{Control, RunQueue, Starter};
use runtime::{Lambda, Services};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use web::AppContext;

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    host: AppContext,
    starter: Starter,
    control: Control,
}

/// Builds the function that starts executions and shows them. Fetches the secret, which the first session needs.
///
/// # Errors
/// `RUN_QUEUE_URL` is not set, or the secret cannot be had.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let queue = RunQueue::new(&services)?;
    let clock = services.clock.clone();
    let host = AppContext::new(services);
    let starter = Starter::new(host.store.clone(), queue, clock.clone());
    let state = State {
        control: Control::new(host.store.clone(), clock, starter.clone()),
        host: host.clone(),
        starter,
    };
    let router = web::serve(host, OpenApiRouter::new(), routes(), state);
    Ok(Lambda::Http(router))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> OpenApiRouter<State> {
    executions::routes()
        .merge(control::routes())
        .merge(runs::routes())
        .merge(messages::routes())
}

/// What the operations are, for readers.
pub fn api() -> OpenApi {
    routes().into_openapi()
}
