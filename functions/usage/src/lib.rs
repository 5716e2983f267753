//! The usage of runs: counted when they end, by day.

mod report;

use keyring::Keyring;
use runtime::{Lambda, Services};
use web::{AppContext, Routes};

/// The state of the handlers.
#[derive(Clone)]
pub struct State {
    context: AppContext,
}

web::app_state!(State);

/// The function, ready to serve.
///
/// # Errors
/// The secret cannot be had.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let context = AppContext::new(services);
    let state = State {
        context: context.clone(),
    };
    Ok(Lambda::Http(web::serve(context, routes(), state)))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> Routes<State> {
    report::routes()
}
