//! API tokens and keys of all dialects, and the audit log.

mod activity;
mod api_keys;
mod api_tokens;
mod audit_logs;
mod lifecycle;
mod validate;

use keyring::Keyring;
use runtime::{Lambda, Services};
use web::{AppContext, Routes};

/// The state of the handlers.
#[derive(Clone)]
pub struct State {
    context: AppContext,
}

web::app_state!(State);

/// The function, ready to serve. Fetches the secret, which sessions are checked with.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let context = AppContext::new(services);
    Ok(Lambda::Http(web::serve(
        context.clone(),
        routes(),
        State { context },
    )))
}

/// All operations of the group.
pub fn routes() -> Routes<State> {
    api_tokens::routes()
        .merge(api_keys::routes())
        .merge(activity::routes())
        .merge(audit_logs::routes())
        .merge(validate::routes())
}
