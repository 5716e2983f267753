//! The services that the handlers of a function work with.

use auth::Authenticator;
use keyring::Vault;
use runtime::Services;
use store::Store;

/// The services of a function, with what is built on them. Cheap to clone.
#[derive(Clone)]
pub struct AppContext {
    pub services: Services,
    pub store: Store,
    pub authenticator: Authenticator,
    pub vault: Vault,
}

impl AppContext {
    pub fn new(services: Services) -> Self {
        let store = Store::new(&services);
        Self {
            authenticator: Authenticator::new(services.clone(), store.clone()),
            vault: Vault::new(services.clone(), store.clone()),
            store,
            services,
        }
    }
}
