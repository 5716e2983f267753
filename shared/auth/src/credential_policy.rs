//! The rules of a family of paths for credentials and rate limits, as plain values.

use domain::token::TokenKind;
use runtime::config::Limits;

use crate::limits::{NamedLimit, Policy};

/// The credentials that are taken, and the limits on their requests.
#[derive(Clone, Copy, Debug)]
pub struct CredentialPolicy {
    /// The header, in lower case, that a token may stand in beside `Authorization: Bearer`.
    pub header: Option<&'static str>,
    /// The one kind of token that is taken.
    pub token: Option<TokenKind>,
    /// `true` when a user session is taken.
    pub sessions: bool,
    pub limit_of_tokens: RateLimitPolicy,
    pub limit_of_sessions: RateLimitPolicy,
}

/// A limit on the requests of a minute.
#[derive(Clone, Copy, Debug)]
pub struct RateLimitPolicy {
    pub subject: RateSubject,
    pub normal: NamedLimit,
    /// For heavy operations.
    pub strict: NamedLimit,
}

/// Whom a request counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateSubject {
    /// The address of the client, or its IPv6 network. Unknown credentials count like known ones.
    Address,
    /// The token, or the user of the session.
    Credential,
}

impl RateLimitPolicy {
    /// The same limit for heavy operations and all others.
    pub const fn even(subject: RateSubject, limit: NamedLimit) -> Self {
        Self {
            subject,
            normal: limit,
            strict: limit,
        }
    }

    /// The window that a request counts in.
    pub(crate) fn policy(
        &self,
        limits: &Limits,
        is_strict: bool,
        ip: &str,
        credential: impl ToString,
    ) -> Policy {
        let limit = if is_strict { self.strict } else { self.normal };
        match self.subject {
            RateSubject::Address => Policy::of_address(limit, limits, ip),
            RateSubject::Credential => Policy {
                name: limit.name,
                subject: credential.to_string(),
                limit: (limit.of)(limits),
            },
        }
    }
}
