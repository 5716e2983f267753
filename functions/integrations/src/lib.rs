//! Credentials for external services. Today: API keys of model providers.

mod credentials;
mod default_credentials;
mod view;

use keyring::Keyring;
use outbound::OutboundClient;
use runtime::{Lambda, Services};
use web::{AppContext, Routes};

/// The state of the handlers.
#[derive(Clone)]
pub struct State {
    context: AppContext,
    outbound: OutboundClient,
}

web::app_state!(State);

/// The function, ready to serve. Fetches the secret, which credentials are sealed with.
///
/// # Errors
/// The secret cannot be had.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let settings = &services.config.outbound;
    let outbound = OutboundClient::guarding(settings.allow_loopback, settings.own_ports.clone());
    let context = AppContext::new(services);
    let state = State {
        context: context.clone(),
        outbound,
    };
    Ok(Lambda::Http(web::serve(context, routes(), state)))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> Routes<State> {
    credentials::routes().merge(default_credentials::routes())
}
