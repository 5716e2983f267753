//! Passwords: argon2id with the crate's defaults (19 MiB, two passes), as OWASP recommends.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use domain::{Error, Result};

/// A hash that belongs to no account. Verifying against it costs what a real one costs, which hides whether an account exists.
const NO_USER: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2lnbmFsYm94LW5vYm9keQ$DPaJPbYQGZjgwSgUtFfGe2USbqIpwOhnH0WkmVZZbTI";

/// Hashes a password, off the async threads: it takes tens of milliseconds on purpose.
pub async fn hash_password(password: String) -> Result<String> {
    let hashed = tokio::task::spawn_blocking(move || {
        Argon2::default()
            .hash_password(password.as_bytes())
            .map(|hash| hash.to_string())
    });
    hashed
        .await
        .map_err(Error::internal)?
        .map_err(|error| Error::internal(error.to_string()))
}

/// Tells whether `password` is the one of `hash`; without a hash it is not, and takes as long to say so.
pub async fn verify_password(password: String, hash: Option<String>) -> Result<bool> {
    let verified = tokio::task::spawn_blocking(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NO_USER.to_owned());
        let Ok(hash) = PasswordHash::new(&hash) else {
            return false;
        };
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
            && known
    });
    verified.await.map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_for_unknown_users_can_be_verified_against() {
        assert!(PasswordHash::new(NO_USER).is_ok());
    }
}
