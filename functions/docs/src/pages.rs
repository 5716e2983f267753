//! Swagger UI on a document: `/swagger` and `/api/v1/docs`.
//!
//! All addresses are relative, so that a page works behind a stage as well as at the root of a domain.

use axum::extract::OriginalUri;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use utoipa_axum::routes;

use crate::documents::State;
use web::{PublicLimit, RoutePolicy, Routes};

/// Nothing from elsewhere, and no script in the page itself. Swagger UI draws with style attributes and `data:` images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The explorer of the whole platform.
#[utoipa::path(
    get, path = "/swagger", tag = "Documents",
    extensions(("x-bare" = json!(true))), security(()),
    responses((status = 200, body = String, content_type = "text/html")),
)]
async fn get_explorer(OriginalUri(uri): OriginalUri) -> Response {
    page("Signalbox API", uri.path(), "swagger.json")
}

/// The explorer of AgentPlatform's operations.
#[utoipa::path(
    get, path = "/api/v1/docs", tag = "Documents",
    extensions(("x-bare" = json!(true))), security(()),
    responses((status = 200, body = String, content_type = "text/html")),
)]
async fn get_agentplatform_explorer(OriginalUri(uri): OriginalUri) -> Response {
    page("AgentPlatform API", uri.path(), "api/v1/openapi.json")
}

/// The page at `path` on `document`, which is named from the root.
fn page(title: &str, path: &str, document: &str) -> Response {
    let root = "../".repeat(path.matches('/').count() - 1);
    let html = format!(
        r#"<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{title}</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="{root}swagger/swagger-ui.css">
</head>
<body>
  <div id="explorer"></div>
  <script src="{root}swagger/swagger-ui-bundle.js"></script>
  <script src="{root}swagger/start.js" data-document="{root}{document}"></script>
</body>
</html>
"#
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=60"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, html).into_response()
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .with(
            RoutePolicy::public(PublicLimit::Memory),
            routes!(get_explorer),
        )
        .with(
            RoutePolicy::public(PublicLimit::Memory),
            routes!(get_agentplatform_explorer),
        )
}
