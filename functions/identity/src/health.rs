//! `true` if the platform answers.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::{ApiResponse, PublicLimit, RoutePolicy, Routes};

use crate::State;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
struct HealthResponse {
    status: &'static str,
    service: &'static str,
}

/// Tells that requests are served. It is open to all callers and does no I/O.
#[utoipa::path(get, path = "/healthz", tag = "Platform", security(()), responses((status = 200, body = HealthResponse)))]
async fn get_health() -> ApiResponse<HealthResponse> {
    ApiResponse::bare(HealthResponse {
        status: "ok",
        service: "signalbox",
    })
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().with(
        RoutePolicy::public(PublicLimit::Memory),
        routes!(get_health),
    )
}
