//! The API documents and the pages to read and try them on.
//!
//! This group is the one that depends on the others: on what their operations are, and on nothing that they do.

mod assets;
mod documents;
mod pages;

use std::sync::Arc;

use runtime::{Lambda, Services};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use web::AppContext;

use crate::documents::Documents;

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    documents: Arc<Documents>,
}

/// The function, ready to serve. The documents are made when they are first asked for.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    let public_url = services.config.public_url.clone();
    let state = State {
        documents: Arc::new(Documents::new(public_url)),
    };
    let router = web::serve(
        AppContext::new(services),
        routes(),
        OpenApiRouter::new(),
        state,
    );
    Ok(Lambda::Http(router))
}

/// All operations of the group. They are open to all callers.
pub fn routes() -> OpenApiRouter<State> {
    documents::routes()
        .merge(pages::routes())
        .merge(assets::routes())
}

/// What the operations are, for readers.
pub fn api() -> OpenApi {
    routes().into_openapi()
}
