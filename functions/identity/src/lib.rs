//! Accounts: registering and signing in, organizations, workspaces and members.

mod account;
mod delete;
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

use keyring::Keyring;
use runtime::{Lambda, Services};
use web::{AppContext, Routes};

pub use new_account::NewAccount;
pub use token_restriction::{least_of, restrict_tokens_to_member};

/// The state of the handlers.
#[derive(Clone)]
pub struct State {
    context: AppContext,
}

web::app_state!(State);

/// The function, ready to serve. Fetches the secret, which the first request needs.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let context = AppContext::new(services);
    let state = State {
        context: context.clone(),
    };
    Ok(Lambda::Http(web::serve(context, routes(), state)))
}

/// All operations of the group.
pub fn routes() -> Routes<State> {
    health::routes()
        .merge(registration::routes())
        .merge(sign_in::routes())
        .merge(account::routes())
        .merge(delete::routes())
        .merge(invitations::routes())
        .merge(me::routes())
        .merge(members::routes())
        .merge(organization::routes())
        .merge(plan::routes())
        .merge(workspaces::routes())
}
