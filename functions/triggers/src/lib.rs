//! Triggers: what makes agents run, from outside and by the clock.

mod signals;
pub mod tick;

pub use tick::tick;

use engine::{RunQueue, Starter};
use runtime::{Lambda, Services};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use web::AppContext;

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    host: AppContext,
    starter: Starter,
}

/// Builds the function that takes signals.
///
/// # Errors
/// `RUN_QUEUE_URL` is not set.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    let queue = RunQueue::new(&services)?;
    let clock = services.clock.clone();
    let host = AppContext::new(services);
    let starter = Starter::new(host.store.clone(), queue, clock);
    let state = State {
        host: host.clone(),
        starter,
    };
    let router = web::serve(host, OpenApiRouter::new(), routes(), state);
    Ok(Lambda::Http(router))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> OpenApiRouter<State> {
    signals::routes()
}

/// What the operations are, for readers.
pub fn api() -> OpenApi {
    routes().into_openapi()
}
