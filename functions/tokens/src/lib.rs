//! API tokens and keys of all dialects, and the audit log.

mod activity;
mod api_keys;
mod api_tokens;
mod audit_logs;
mod changes;
mod validate;

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

/// The function, ready to serve. Fetches the secret, which sessions are checked with.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let host = AppContext::new(services);
    Ok(Lambda::Http(web::serve(
        host.clone(),
        OpenApiRouter::new(),
        routes(),
        State { host },
    )))
}

/// All operations of the group.
pub fn routes() -> OpenApiRouter<State> {
    api_tokens::routes()
        .merge(api_keys::routes())
        .merge(activity::routes())
        .merge(audit_logs::routes())
        .merge(validate::routes())
}

/// What the operations are, for readers.
pub fn api() -> OpenApi {
    routes().into_openapi()
}
