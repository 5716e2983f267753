//! HTTP for all functions: routing, admission, extractors, and the envelopes of responses.
//!
//! Handlers know nothing of envelopes, status tables or headers. They take extractors of this crate and return
//! [`ApiResponse`]s, [`PageResponse`] pages or a [`domain::Error`]; the path's dialect gives them their shape. What happens to a
//! request before its handler runs is the [`RoutePolicy`] beside its route.

pub mod access;
mod body;
mod context;
mod cors;
pub mod dialects;
mod dispatch;
mod error;
mod extract;
mod found;
mod idempotency;
mod new_id;
pub mod openapi;
mod page;
mod params;
mod path;
mod response;
mod routes;
mod scope;
mod serve;
mod signed;

pub use access::Authorized;
pub use body::{Json, OptionalJson, RawBody, double_option};
pub use context::AppContext;
pub use dialects::{CursorPaging, ProdgyPaging, ProwptPaging};
pub use error::ApiError;
pub use extract::{Deadline, LAST_EVENT_ID, LAST_EVENT_ID_PARAMETER};
pub use found::{Entity, Find, Found, found};
pub use new_id::NewId;
pub use page::PageParams;
pub use params::Params;
pub use path::{Id, IdPair};
pub use response::{ApiResponse, NoContent, PageResponse, Payload, Shape};
pub use routes::{MAX_BODY, MAX_INPUT_BODY, PublicLimit, RoutePolicies, RoutePolicy, Routes};
pub use runtime::Clock;
pub use scope::{Client, RequestScope};
pub use serve::{refusal, serve};
pub use signed::SignedEndpoint;
pub use store::Store;

/// The result of a handler.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;
