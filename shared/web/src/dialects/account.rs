//! Our own routes for accounts: Prodgy's envelope, sessions only, limits by user.

use auth::{CredentialPolicy, NamedLimit, RateLimitPolicy, RateSubject};
use axum::http::StatusCode;
use axum::response::Response;
use domain::Error;
use serde_json::{Map, Value, json};

use super::{Dialect, prodgy};
use crate::page::PageParams;
use crate::params::Params;
use crate::response::Payload;

pub(super) struct Account;

/// The limit of a user's session.
pub(super) const LIMIT: RateLimitPolicy = RateLimitPolicy::even(
    RateSubject::Credential,
    NamedLimit {
        name: "account",
        of: |limits| limits.account,
    },
);

static CREDENTIALS: CredentialPolicy = CredentialPolicy {
    header: None,
    token: None,
    sessions: true,
    limit_of_tokens: LIMIT,
    limit_of_sessions: LIMIT,
};

impl Dialect for Account {
    fn name(&self) -> &'static str {
        "Prodgy"
    }

    fn owns(&self, segments: [&str; 3]) -> bool {
        match segments {
            // Prowpt's.
            ["api", "auth", "me"] => false,
            ["api", second, _] => matches!(second, "auth" | "workspaces" | "organization"),
            _ => false,
        }
    }

    fn credentials(&self) -> &'static CredentialPolicy {
        &CREDENTIALS
    }

    fn takes_product_id(&self) -> bool {
        false
    }

    fn takes_organization_id(&self) -> bool {
        true
    }

    fn read_page(&self, params: &Params) -> Result<PageParams, Error> {
        prodgy::read_page(params)
    }

    fn success(&self, status: StatusCode, payload: Payload) -> Response {
        prodgy::success(status, payload)
    }

    fn failure_body(&self, error: &Error, message: &str, request_id: &str) -> Value {
        prodgy::failure_body(error, message, request_id)
    }

    fn status_of(&self, error: &Error) -> StatusCode {
        prodgy::status(error)
    }

    fn rate_limit_headers(&self) -> [&'static str; 3] {
        prodgy::RATE_LIMIT_HEADERS
    }

    fn security(&self) -> Value {
        json!([{"Session": []}])
    }

    fn success_schema(&self, data: Value, is_list: bool) -> Option<Value> {
        Some(prodgy::success_schema(data, is_list))
    }

    fn schemas(&self) -> Map<String, Value> {
        Map::new()
    }

    fn error_example(&self, is_validation: bool, kind: &str, message: &str) -> Value {
        prodgy::Prodgy.error_example(is_validation, kind, message)
    }
}
