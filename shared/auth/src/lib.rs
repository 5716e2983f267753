//! Authentication, authorization and rate limits of requests.
//!
//! A request is checked in one step, [`Authenticator::authenticate`]: its credential is looked up and its rate limit
//! counted side by side, so that it waits for one DynamoDB round trip.

mod authenticator;
mod credential;
mod credential_policy;
mod device;
mod guess;
mod lasting;
mod limits;
mod organization_guard;
mod password;
mod principal;
mod session;
mod token_upkeep;

pub use authenticator::{AuthRequest, AuthResult, Authenticator, TokenRef};
pub use credential::Credential;
pub use credential_policy::{CredentialPolicy, RateLimitPolicy, RateSubject};
pub use device::{issue_device_token, known_device};
pub use guess::Guess;
pub use lasting::Lasting;
pub use limits::{Counting, Limiter, NamedLimit, Policy, network_of};
pub use organization_guard::{Batch, OrganizationGuard};
pub use password::{hash_password, verify_password};
pub use principal::{Identity, Principal};
pub use session::{AccessClaims, Exchange, SessionTokens, begin_session, exchange, session_of};
