//! Who a request comes from, what that principal may do, and how often.
//!
//! A request is checked in one step, [`Authenticator::authenticate`]: its credential is looked up and its rate limit
//! counted side by side, so that it waits for one DynamoDB round trip.

mod authenticator;
mod credential;
mod data_keys;
mod device;
mod dialect;
mod guess;
mod keyring;
mod lasting;
mod limits;
mod organization_guard;
mod password;
mod principal;
mod provider_keys;
mod sealing;
mod session;
mod token_upkeep;
mod vault;

pub use authenticator::{AuthRequest, AuthResult, Authenticator, TokenRef};
pub use credential::Credential;
pub use dialect::Dialect;
pub use guess::Guess;
pub use keyring::Keyring;
pub use lasting::Lasting;
pub use limits::{Counting, Limiter, Policy, is_strict, network_of};
pub use organization_guard::{Batch, OrganizationGuard};
pub use password::{hash_password, verify_password};
pub use principal::{Identity, Principal};
pub use session::{AccessClaims, Exchange, SessionTokens, begin_session, exchange, session_of};
pub use vault::Vault;
