//! What runs used: counted when they end, by day.

mod report;

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

/// The function, ready to serve.
///
/// # Errors
/// The secret cannot be had.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let host = AppContext::new(services);
    let state = State { host: host.clone() };
    Ok(Lambda::Http(web::serve(
        host,
        OpenApiRouter::new(),
        routes(),
        state,
    )))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> OpenApiRouter<State> {
    report::routes()
}

/// What the operations are, for readers.
pub fn api() -> OpenApi {
    routes().into_openapi()
}
