//! Who a request comes from, what that principal may do, and how often.
//!
//! A request is checked in one step, [`Authenticator::authenticate`]: its credential is looked up and its rate limit
//! counted side by side, so that it waits for one DynamoDB round trip.

mod authenticator;
mod credential;
mod dialect;
mod keyring;
mod lasting;
mod limits;
mod password;
mod principal;
mod provider_keys;
mod session;
mod token_upkeep;

pub use authenticator::{Authenticated, Authenticator, Incoming, KnownKey};
pub use credential::Credential;
pub use dialect::Dialect;
pub use keyring::Keyring;
pub use lasting::Lasting;
pub use limits::{Counting, Limiter, Policy, is_strict};
pub use password::{hash_password, verify_password};
pub use principal::{Identity, Principal};
pub use session::{AccessClaims, SessionTokens, issue_session, refresh_parts};
