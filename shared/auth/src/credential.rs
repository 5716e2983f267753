//! Reading the credential that a request carries.

use domain::token::TokenSecret;
use domain::{Error, Result};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::CredentialPolicy;

/// The credential that a request shows. Well-formed, not yet known to be good.
#[derive(Clone, Debug)]
pub enum Credential {
    Token(TokenSecret),
    /// A JSON Web Token of a session.
    Session(String),
}

impl Credential {
    /// Reads the credential from the policy's header or, as a bearer, from `Authorization`.
    ///
    /// # Errors
    /// `Unauthenticated` when there is none, or one whose form tells without a look-up that it is not good here.
    pub fn read(policy: &CredentialPolicy, headers: &HeaderMap) -> Result<Self> {
        let fits = |kind| policy.token == Some(kind);
        if let Some(value) = policy.header.and_then(|name| headers.get(name)) {
            let text = value.to_str().map_err(|_| refused())?;
            return TokenSecret::parse(text.trim())
                .filter(|token| fits(token.kind()))
                .map(Self::Token)
                .ok_or_else(refused);
        }
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Err(Error::Unauthenticated("missing credentials".to_owned()));
        };
        let text = value.to_str().map_err(|_| refused())?;
        let (scheme, credential) = text.split_once(' ').ok_or_else(refused)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refused());
        }
        let credential = credential.trim();
        match TokenSecret::parse(credential) {
            Some(token) if fits(token.kind()) => Ok(Self::Token(token)),
            Some(_) => Err(refused()),
            None if policy.sessions && is_jwt(credential) => {
                Ok(Self::Session(credential.to_owned()))
            }
            None => Err(refused()),
        }
    }
}

/// The one text for every credential that is not good, so that it tells nothing about which exist.
pub(crate) fn refused() -> Error {
    Error::Unauthenticated("invalid or expired credentials".to_owned())
}

fn is_jwt(text: &str) -> bool {
    let url_safe = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 4096 && text.split('.').count() == 3 && text.split('.').all(url_safe)
}
