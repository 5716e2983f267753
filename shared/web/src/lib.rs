//! HTTP for all functions: what a request is before a handler sees it, and what becomes of the answer.
//!
//! Handlers know nothing of envelopes, status tables or headers. They take extractors of this crate and return
//! [`ApiResponse`]s, [`PageResponse`] pages or a [`domain::Error`]; the path's dialect gives them their shape, in `encode` alone.

pub mod access;
mod cors;
mod encode;
mod extract;
mod idempotency;
pub mod openapi;
mod page;
mod response;
mod serve;

pub use access::Authorized;
pub use extract::{
    Client, ComesBack, Deadline, Id, IdPair, Json, LAST_EVENT_ID, LAST_EVENT_ID_PARAMETER, NewId,
    OptionalJson, Params, double_option, largest_body,
};
pub use page::{CursorPaging, PageParams, ProdgyPaging, ProwptPaging};
pub use response::{ApiError, ApiResponse, NoContent, PageResponse};
pub use serve::{AppContext, refusal, serve};

/// What a handler returns.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;
