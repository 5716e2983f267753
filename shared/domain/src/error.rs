//! One error for the whole domain. What HTTP makes of it is decided in `web`, once for each dialect.

use std::error::Error as StdError;

pub type Result<T, E = Error> = std::result::Result<T, E>;
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The reason why an operation did not happen. A variant exists only where a program must tell it apart from the others.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be read at all: not JSON, a bad cursor, a malformed header.
    #[error("{0}")]
    Malformed(String),
    /// The request can be read, and these fields are wrong.
    #[error("{}", FieldError::summary(.0))]
    Invalid(Vec<FieldError>),
    /// No usable credential. The text is the same for every cause that could reveal whether a credential exists.
    #[error("{0}")]
    Unauthenticated(String),
    /// The credential is good, its role or scope is not enough.
    #[error("{0}")]
    Forbidden(String),
    /// The thing does not exist, or belongs to another tenant: the caller cannot tell which.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The path exists with other methods.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The thing is in a state in which this cannot be done, or another request was faster.
    #[error("{0}")]
    Conflict(String),
    /// Understood and refused by a rule that concerns no single field, a paused agent for one.
    #[error("{0}")]
    Refused(String),
    /// There are as many of these things as there may be.
    #[error("{0}")]
    LimitReached(String),
    /// The body is of another kind than the operation takes.
    #[error("a JSON body needs the content type application/json")]
    UnsupportedMediaType,
    /// The body is larger than `limit` bytes.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("rate limit exceeded")]
    RateLimited(RateLimit),
    /// A limit is reached of what may be open at one time, or of requests in a window that no dialect documents. The request may be
    /// tried again after `retry_after` seconds, at least 1.
    #[error("{message}")]
    Throttled { message: String, retry_after: i64 },
    /// A dependency did not answer. The same request may succeed later.
    #[error("temporarily unavailable")]
    Unavailable(#[source] BoxError),
    /// A defect of ours. The client learns the request id and nothing else.
    #[error("internal error")]
    Internal(#[source] BoxError),
}

/// The state of one rate limit window, as it goes into headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests allowed in a window.
    pub limit: u32,
    /// Requests left in this window.
    pub remaining: u32,
    /// The end of the window, in Unix seconds.
    pub reset: i64,
    /// Seconds until then, at least 1.
    pub retry_after: i64,
}

/// A field that is wrong, by its path (`config.location`), and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub location: Location,
    pub field: String,
    pub message: String,
}

/// The part of a request that a field stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    Body,
    Query,
    Header,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            location: Location::Body,
            field: field.into(),
            message: message.into(),
        }
    }

    fn summary(errors: &[Self]) -> String {
        errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

impl Error {
    /// One wrong field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// One wrong query parameter.
    pub fn invalid_query(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError {
            location: Location::Query,
            ..FieldError::new(field, message)
        }])
    }

    /// One wrong header.
    pub fn invalid_header(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError {
            location: Location::Header,
            ..FieldError::new(field, message)
        }])
    }

    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::Internal(source.into())
    }

    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable(source.into())
    }

    /// Returns `true` if the same work may succeed when it is tried again: 503 to a client, redelivery to a queue.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::RateLimited(_) | Self::Throttled { .. }
        )
    }
}

/// `Ok` when nothing is wrong.
pub fn all_valid(errors: Vec<FieldError>) -> Result<()> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(errors))
    }
}
