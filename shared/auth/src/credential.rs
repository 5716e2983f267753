//! Reading the credential that a request carries.

use domain::token::{TokenKind, TokenSecret};
use domain::{Error, Result};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::Dialect;

/// What a request shows. Well-formed, not yet known to be good.
#[derive(Clone, Debug)]
pub enum Credential {
    Token(TokenSecret),
    /// A JSON Web Token of a session.
    Session(String),
}

impl Credential {
    /// Reads the credential from where `dialect` documents it: `X-API-Token` or Bearer for Prodgy, `X-API-Key` or Bearer for
    /// Prowpt, Bearer alone for AgentPlatform and accounts.
    ///
    /// # Errors
    /// `Unauthenticated` when there is none, or one whose form tells without a look-up that it is not good here.
    pub fn read(dialect: Dialect, headers: &HeaderMap) -> Result<Self> {
        let own_header = match dialect {
            Dialect::Prodgy => Some("x-api-token"),
            Dialect::Prowpt => Some("x-api-key"),
            Dialect::AgentPlatform | Dialect::Account => None,
        };
        if let Some(value) = own_header.and_then(|name| headers.get(name)) {
            let text = value.to_str().map_err(|_| refused())?;
            return TokenSecret::parse(text.trim())
                .filter(|token| fits(dialect, token.kind()))
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
            Some(token) if fits(dialect, token.kind()) => Ok(Self::Token(token)),
            Some(_) => Err(refused()),
            // Keys only on AgentPlatform's routes.
            None if dialect != Dialect::AgentPlatform && is_jwt(credential) => {
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

/// A token of another dialect is as good as none.
fn fits(dialect: Dialect, kind: TokenKind) -> bool {
    match dialect {
        Dialect::Prodgy => kind == TokenKind::Prodgy,
        Dialect::Prowpt => kind == TokenKind::Prowpt,
        Dialect::AgentPlatform => kind == TokenKind::AgentPlatform,
        Dialect::Account => false,
    }
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn each_dialect_takes_its_own_tokens_from_its_own_headers() {
        let token = |kind| TokenSecret::generate(kind).expose().to_owned();
        let prodgy = token(TokenKind::Prodgy);
        let prowpt = token(TokenKind::Prowpt);
        let agentplatform = token(TokenKind::AgentPlatform);
        let bearer = |text: &str| ("authorization", format!("Bearer {text}"));
        let rows = [
            (
                Dialect::Prodgy,
                ("x-api-token", prodgy.clone()),
                true,
                "own header",
            ),
            (Dialect::Prodgy, bearer(&prodgy), true, "bearer"),
            (
                Dialect::Prodgy,
                bearer(&prowpt),
                false,
                "another dialect's token",
            ),
            (
                Dialect::Prodgy,
                bearer("a.b.c"),
                true,
                "the form of a session",
            ),
            (
                Dialect::Prodgy,
                ("x-api-key", prodgy.clone()),
                false,
                "another dialect's header",
            ),
            (
                Dialect::Prowpt,
                ("x-api-key", prowpt.clone()),
                true,
                "own header",
            ),
            (Dialect::Prowpt, bearer(&prowpt), true, "bearer"),
            (
                Dialect::AgentPlatform,
                bearer(&agentplatform),
                true,
                "bearer",
            ),
            (Dialect::AgentPlatform, bearer("a.b.c"), false, "keys only"),
            (
                Dialect::AgentPlatform,
                ("x-api-key", agentplatform.clone()),
                false,
                "bearer alone",
            ),
            (Dialect::Account, bearer(&prodgy), false, "sessions only"),
            (
                Dialect::Account,
                ("authorization", "Basic a.b.c".to_owned()),
                false,
                "another scheme",
            ),
            (Dialect::Prodgy, bearer("prodgy_short"), false, "malformed"),
        ];
        for (dialect, (name, value), good, why) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
            assert_eq!(
                Credential::read(dialect, &headers).is_ok(),
                good,
                "{dialect:?}: {why}"
            );
        }
    }
}
