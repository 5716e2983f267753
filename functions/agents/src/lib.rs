//! Agents and their versions: Prodgy's agent base and AgentPlatform's agents, which are the same things.

mod activity;
mod agent_base;
mod agents;
mod catalog;
mod change;
mod creation;
mod deletion;
mod versions;

use auth::Keyring;
use runtime::{Lambda, Services};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use web::AppContext;

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    host: AppContext,
}

/// The function, ready to serve. Fetches the secret, which the first session needs.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let host = AppContext::new(services);
    let state = State { host: host.clone() };
    let router = web::serve(host, OpenApiRouter::new(), routes(), state);
    Ok(Lambda::Http(router))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> OpenApiRouter<State> {
    catalog::routes()
        .merge(agent_base::routes())
        .merge(versions::routes())
        .merge(agents::routes())
}

/// What the operations are, for readers.
pub fn api() -> OpenApi {
    routes().into_openapi()
}
