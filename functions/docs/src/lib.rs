//! The API documents and the pages to read and try them on.
//!
//! This group reads the list of the others: what their operations are, and nothing of what they do.

mod assets;
mod documents;
mod pages;

use runtime::{Lambda, Services};
use web::{AppContext, Routes};

use crate::documents::Documents;
pub use crate::documents::State;

/// The function, ready to serve. The documents are made when they are first asked for.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    let public_url = services.config.public_url.clone();
    let state = State::new(Documents::new(public_url, || routes().into_openapi()));
    let router = web::serve(AppContext::new(services), routes(), state);
    Ok(Lambda::Http(router))
}

/// All operations of the group. They are open to all callers.
pub fn routes() -> Routes<State> {
    documents::routes()
        .merge(pages::routes())
        .merge(assets::routes())
}
