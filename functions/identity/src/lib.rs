//! Accounts: registering and signing in, organizations, workspaces and members.

mod account;
mod deletion;
mod health;
mod invitations;
mod me;
mod members;
mod new_account;
mod organization;
mod plan;
mod registration;
mod sign_in;
mod token_restriction;
mod workspaces;

use auth::Keyring;
use runtime::{Lambda, Services};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use web::AppContext;

pub use new_account::NewAccount;
pub use token_restriction::{least_of, restrict_tokens_to_member};

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    host: AppContext,
}

/// The function, ready to serve. Fetches the secret, which the first request needs.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let host = AppContext::new(services);
    Ok(Lambda::Http(web::serve(
        host.clone(),
        open_routes(),
        guarded_routes(),
        State { host },
    )))
}

/// All operations of the group.
pub fn routes() -> OpenApiRouter<State> {
    open_routes().merge(guarded_routes())
}

/// What the operations are, for readers.
pub fn api() -> OpenApi {
    routes().into_openapi()
}

fn open_routes() -> OpenApiRouter<State> {
    health::routes()
        .merge(registration::routes())
        .merge(sign_in::routes())
}

fn guarded_routes() -> OpenApiRouter<State> {
    account::routes()
        .merge(deletion::routes())
        .merge(invitations::routes())
        .merge(me::routes())
        .merge(members::routes())
        .merge(organization::routes())
        .merge(plan::routes())
        .merge(workspaces::routes())
}
