//! Entities that a path names: found within the caller's tenant, or 404.

use std::str::FromStr;
use std::sync::Arc;

use auth::Principal;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use domain::agent::Agent;
use domain::credential::Credential;
use domain::identity::{Member, Organization, User, Workspace};
use domain::ids::{AgentId, CredentialId, RunId};
use domain::run::Run;
use domain::token::Token;
use domain::{Error, Result};
use store::{AgentWithStatus, Store};

use crate::error::ApiError;
use crate::path::Id;

/// An entity that may not be there.
pub trait Entity: Sized {
    /// The name that clients read in the 404.
    const NAME: &'static str;

    /// # Errors
    /// `NotFound` for `None`.
    fn or_not_found(entity: Option<Self>) -> Result<Self> {
        entity.ok_or(Error::NotFound(Self::NAME))
    }
}

/// An entity that an id names within the tenant of a caller.
pub trait Find: Entity + Send {
    type Id: FromStr + Send;

    fn find(
        store: &Store,
        caller: &Principal,
        id: Self::Id,
    ) -> impl Future<Output = Result<Option<Self>>> + Send;
}

/// The entity that the one id of the path names, in the tenant of the caller. Handlers take it after
/// [`crate::Authorized`], so that only callers who may read it learn whether it is there.
#[derive(Clone, Debug)]
pub struct Found<T>(pub T);

impl<T: Find, S: Send + Sync> FromRequestParts<S> for Found<T>
where
    Store: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Id(id) = Id::from_request_parts(parts, state).await?;
        let caller = parts.extensions.get::<Arc<Principal>>();
        let caller =
            caller.ok_or_else(|| Error::internal("the route is not behind authentication"))?;
        let store = Store::from_ref(state);
        Ok(Self(found(T::find(&store, caller, id)).await?))
    }
}

/// The entity that a read finds.
///
/// # Errors
/// `NotFound` when it finds nothing, and those of the read.
pub async fn found<T: Entity>(read: impl Future<Output = Result<Option<T>>>) -> Result<T> {
    T::or_not_found(read.await?)
}

macro_rules! entities {
    ($($entity:ty: $name:literal $(, by $id:ty: $read:ident in $tenant:ident)?;)*) => {$(
        impl Entity for $entity {
            const NAME: &'static str = $name;
        }

        $(impl Find for $entity {
            type Id = $id;

            async fn find(
                store: &Store,
                caller: &Principal,
                id: $id,
            ) -> Result<Option<Self>> {
                store.$read(caller.$tenant, id).await
            }
        })?
    )*};
}

entities! {
    AgentWithStatus: "agent";
    Agent: "agent", by AgentId: agent in workspace_id;
    Credential: "credential", by CredentialId: credential in organization_id;
    // Prodgy calls it an execution; AgentPlatform's 404 names nothing.
    Run: "execution", by RunId: run in workspace_id;
    Member: "member";
    Organization: "organization";
    Token: "token";
    User: "user";
    Workspace: "workspace";
}

/// Lets handlers of a group with this state, which has the field `context`, ask for the parts of the
/// [`crate::AppContext`]: `Extract(store): Extract<Store>`.
#[macro_export]
macro_rules! app_state {
    ($state:ty) => {
        impl axum::extract::FromRef<$state> for $crate::AppContext {
            fn from_ref(state: &$state) -> Self {
                state.context.clone()
            }
        }

        impl axum::extract::FromRef<$state> for $crate::Store {
            fn from_ref(state: &$state) -> Self {
                state.context.store.clone()
            }
        }

        impl axum::extract::FromRef<$state> for $crate::Clock {
            fn from_ref(state: &$state) -> Self {
                state.context.services.clock.clone()
            }
        }
    };
}
