//! Agents and their versions: Prodgy's agent base and AgentPlatform's agents, which are the same things.

mod agent_base;
mod agents;
mod catalog;
mod create;
mod delete;
mod status;
mod update;
mod versions;

use keyring::Keyring;
use runtime::{Lambda, Services};
use web::{AppContext, Routes};

/// The state of the handlers.
#[derive(Clone)]
pub struct State {
    context: AppContext,
}

web::app_state!(State);

/// The function, ready to serve. Fetches the secret, which the first session needs.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let context = AppContext::new(services);
    let state = State {
        context: context.clone(),
    };
    let router = web::serve(context, routes(), state);
    Ok(Lambda::Http(router))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> Routes<State> {
    catalog::routes()
        .merge(agent_base::routes())
        .merge(versions::routes())
        .merge(agents::routes())
}
