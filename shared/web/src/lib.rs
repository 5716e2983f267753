//! HTTP for all functions: what a request is before a handler sees it, and what becomes of the answer.
//!
//! Handlers know nothing of envelopes, status tables or headers. They take extractors of this crate and return
//! [`ApiResponse`]s, [`PageResponse`] pages or a [`domain::Error`]; the path's dialect gives them their shape. What happens to a
//! request before its handler runs is the [`RoutePolicy`] beside its route.

pub mod access;
mod cors;
pub mod dialects;
mod extract;
mod found;
mod idempotency;
pub mod openapi;
mod page;
mod response;
mod routes;
mod scope;
mod serve;

pub use access::Authorized;
pub use dialects::{CursorPaging, ProdgyPaging, ProwptPaging};
pub use extract::{
    Deadline, Id, IdPair, Json, LAST_EVENT_ID, LAST_EVENT_ID_PARAMETER, NewId, OptionalJson,
    Params, RawBody, SignedEndpoint, double_option,
};
pub use found::{Entity, Find, Found, found};
pub use page::PageParams;
pub use response::{ApiError, ApiResponse, NoContent, PageResponse, Payload, Shape};
pub use routes::{MAX_BODY, MAX_INPUT_BODY, PublicLimit, RoutePolicies, RoutePolicy, Routes};
pub use runtime::Clock;
pub use scope::{Client, RequestScope};
pub use serve::{AppContext, refusal, serve};
pub use store::Store;

/// What a handler returns.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;
