//! The files of the pages: Swagger UI, which comes with the crate `swagger-ui-redist`, and the script that opens it.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::Error;
use swagger_ui_redist::SwaggerUi;
use utoipa_axum::routes;
use web::{PublicLimit, Result, RoutePolicy, Routes};

use crate::documents::State;

const START: &[u8] = include_bytes!("start.js");
/// A file that the pages ask for, with its media type.
const FILES: [(&str, &str); 3] = [
    ("start.js", "text/javascript; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
];

/// A part of the explorer: `start.js`, `swagger-ui-bundle.js` or `swagger-ui.css`.
#[utoipa::path(
    get, path = "/swagger/{file}", tag = "Documents",
    params(("file" = String, Path, example = "swagger-ui.css")),
    extensions(("x-bare" = json!(true))), security(()),
    responses(
        (status = 200, content((String = "text/css"), (String = "text/javascript"))),
        (status = 404),
    ),
)]
async fn get_explorer_file(Path(file): Path<String>) -> Result<Response> {
    let known = FILES.into_iter().find(|(name, _)| *name == file);
    let (name, media_type) = known.ok_or(Error::NotFound("file"))?;
    let content = if name == "start.js" {
        Some(START)
    } else {
        let mut files = SwaggerUi::static_files().iter();
        files
            .find(|(file, _)| file.file_name() == name)
            .map(|(_, content)| *content)
    };
    let content = content.ok_or(Error::NotFound("file"))?;
    let headers = [
        (CONTENT_TYPE, media_type),
        (CACHE_CONTROL, "public, max-age=86400"),
    ];
    Ok((headers, content).into_response())
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().with(
        RoutePolicy::public(PublicLimit::Memory),
        routes!(get_explorer_file),
    )
}
