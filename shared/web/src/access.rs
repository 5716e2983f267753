//! Requirements of a handler on its caller, said in its signature: `caller: Authorized<AgentsWrite>`.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use auth::Principal;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use domain::access::Role;
use domain::{Error, Result};

use crate::error::ApiError;
use crate::idempotency;

/// A rule over principals.
pub trait Access {
    /// # Errors
    /// `Forbidden` when role or scope are not enough, `Unauthenticated` when the kind of credential is not accepted.
    fn permit(principal: &Principal) -> Result<()>;
}

/// A caller for whom the rule `A` holds, and whose request has no stored answer. Handlers take it before [`crate::NewId`].
#[derive(Clone, Debug)]
pub struct Authorized<A> {
    principal: Arc<Principal>,
    rule: PhantomData<A>,
}

impl<A> Deref for Authorized<A> {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.principal
    }
}

impl<A: Access, S: Send + Sync> FromRequestParts<S> for Authorized<A> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let principal = parts.extensions.get::<Arc<Principal>>().cloned();
        let permitted = principal
            .ok_or_else(|| Error::internal("the route is not behind authentication"))
            .and_then(|principal| A::permit(&principal).map(|()| principal));
        let principal = permitted.map_err(|error| ApiError(error).into_response())?;
        idempotency::admit(parts).await?;
        Ok(Self {
            principal,
            rule: PhantomData,
        })
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident => |$principal:ident| $rule:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Access for $name {
            fn permit($principal: &Principal) -> Result<()> {
                $rule
            }
        }
    )*};
}

rules! {
    /// Any caller who is authenticated for the route's dialect.
    Authenticated => |_principal| Ok(());
    /// A user session; no token.
    Session => |principal| principal.require_session().map(drop);
    /// A user session of an administrator.
    AdminSession => |principal| principal.require_session().and_then(|_| principal.require_role(Role::Admin));
    /// A user session of a super admin.
    SuperAdminSession => |principal| principal.require_session().and_then(|_| principal.require_role(Role::SuperAdmin));
    /// A user session, or a key that may do everything.
    FullAccess => |principal| principal.require_scope("*");
    AgentsRead => |principal| principal.require_scope("agents:read");
    AgentsWrite => |principal| principal.require_scope("agents:write");
    RunsRead => |principal| principal.require_scope("runs:read");
    SignalsWrite => |principal| principal.require_scope("signals:write");
    UsageRead => |principal| principal.require_scope("usage:read");
    CredentialsRead => |principal| principal.require_scope("credentials:read");
    CredentialsWrite => |principal| principal.require_scope("credentials:write");
    AuditLogsRead => |principal| principal.require_scope("audit_logs:read");
}
