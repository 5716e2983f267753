//! What happens in a run, as it happens: server-sent events.
//!
//! `history` makes events of what is stored about a run, always the same ones; `follow` reads what is stored until the run is
//! over; `events` is the route.

mod events;
mod follow;
mod history;
mod pieces;

use std::time::Duration;

use auth::Keyring;
use runtime::{Lambda, Services};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use web::Host;

/// How long nothing may come from a stream: proxies take a silent connection for a dead one, API Gateway after five minutes.
const PING_EVERY: Duration = Duration::from_secs(15);

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    host: Host,
    ping_every: Duration,
}

/// The function, ready to serve.
///
/// # Errors
/// The secret cannot be had.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    lambda_with_pings(services, PING_EVERY).await
}

/// Likewise, with a comment in a stream after so much silence.
///
/// # Errors
/// The secret cannot be had.
pub async fn lambda_with_pings(
    services: Services,
    ping_every: Duration,
) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let host = Host::new(services);
    let state = State {
        host: host.clone(),
        ping_every,
    };
    Ok(Lambda::Stream(web::serve(
        host,
        OpenApiRouter::new(),
        routes(),
        state,
    )))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> OpenApiRouter<State> {
    events::routes()
}

/// What the operations are, for readers.
pub fn api() -> OpenApi {
    routes().into_openapi()
}
