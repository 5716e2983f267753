//! HTTP for all functions: what a request is before a handler sees it, and what becomes of the answer.
//!
//! Handlers know nothing of envelopes, status tables or headers. They take extractors of this crate and return
//! [`Reply`]s, [`Listed`] pages or a [`domain::Error`]; the path's dialect gives them their face, in `encode` alone.

pub mod access;
mod cors;
mod encode;
mod extract;
mod idempotency;
pub mod openapi;
mod page;
mod reply;
mod serve;

pub use access::Permitted;
pub use extract::{
    Client, ComesBack, Deadline, FreshId, Id, IdPair, Json, LAST_EVENT_ID, LAST_EVENT_ID_PARAMETER,
    OptionalJson, Params, largest_body, present,
};
pub use page::{CursorPaging, PageParams, ProdgyPaging, ProwptPaging};
pub use reply::{Failure, Listed, NoContent, Reply};
pub use serve::{Host, refusal, serve};

/// What a handler returns.
pub type Result<T, E = Failure> = std::result::Result<T, E>;
