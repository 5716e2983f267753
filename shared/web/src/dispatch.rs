//! From an admitted request to its handler.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use domain::Error;
use futures::FutureExt;
use tower::ServiceExt;

use crate::error::ApiError;

/// Has the routes answer a request. A panic of a handler is an answer like others.
pub(crate) async fn call(routes: &Router, request: Request) -> Response {
    let answered = AssertUnwindSafe(routes.clone().oneshot(request)).catch_unwind();
    match answered.await {
        Ok(Ok(response)) => response,
        Err(_) => ApiError(Error::internal("a handler panicked")).into_response(),
    }
}
