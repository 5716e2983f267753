//! The platform through HTTP, as its clients see it. Every test has a platform of its own.

mod account;
mod api_keys;
mod api_tokens;
mod limits;
mod members;
mod template;
