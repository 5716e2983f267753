//! What is outside: keys for the providers of models.

mod credentials;
mod default_credentials;
mod view;

use auth::Keyring;
use outbound::OutboundClient;
use runtime::{Lambda, Services};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use web::AppContext;

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    host: AppContext,
    outbound: OutboundClient,
}

/// The function, ready to serve. Fetches the secret, which credentials are sealed with.
///
/// # Errors
/// The secret cannot be had.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let settings = &services.config.outbound;
    let outbound = OutboundClient::guarding(settings.allow_loopback, settings.own_ports.clone());
    let host = AppContext::new(services);
    let state = State {
        host: host.clone(),
        outbound,
    };
    Ok(Lambda::Http(web::serve(
        host,
        OpenApiRouter::new(),
        routes(),
        state,
    )))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> OpenApiRouter<State> {
    credentials::routes().merge(default_credentials::routes())
}

/// What the operations are, for readers.
pub fn api() -> OpenApi {
    routes().into_openapi()
}
