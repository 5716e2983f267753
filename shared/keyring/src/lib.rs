//! Keys: what is signed with the master secret, and what is sealed for the database.
//!
//! [`Keyring`] signs and derives for what does not last; [`Vault`] seals what is stored, with data keys that the master secret wraps.

mod data_keys;
mod keyring;
mod provider_keys;
mod sealing;
mod vault;

pub use keyring::Keyring;
pub use vault::Vault;
