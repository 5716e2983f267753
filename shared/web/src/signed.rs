//! Signed routes: a client proves with a signature that it knows the endpoint's secret.

use auth::{NamedLimit, Policy};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use domain::Error;

use crate::context::AppContext;
use crate::error::ApiError;
use crate::routes::EndpointLimit;

/// The limit of a signed route ([`crate::RoutePolicy::signed`]), which its handler counts requests against once it has verified their
/// signature.
#[derive(Clone)]
pub struct SignedEndpoint {
    limit: NamedLimit,
    context: AppContext,
}

impl SignedEndpoint {
    /// Counts a request of the endpoint with this id.
    ///
    /// # Errors
    /// `RateLimited` over the limit; an error of the store when the request cannot be counted.
    pub async fn count(&self, endpoint: impl ToString) -> Result<(), Error> {
        let services = &self.context.services;
        let policy = Policy {
            name: self.limit.name,
            subject: endpoint.to_string(),
            limit: (self.limit.of)(&services.config.limits),
        };
        let limiter = self.context.authenticator.limiter();
        limiter.require_counted(&policy, services.clock.now()).await
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedEndpoint
where
    AppContext: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let limit = parts.extensions.get::<EndpointLimit>().copied();
        let EndpointLimit(limit) =
            limit.ok_or_else(|| Error::internal("the route is not a signed one"))?;
        Ok(Self {
            limit,
            context: AppContext::from_ref(state),
        })
    }
}
