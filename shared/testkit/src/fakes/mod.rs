//! Other people's systems, as small HTTP servers on this machine.

mod model_api;
mod open_meteo;
mod target;

pub use model_api::{ModelApi, Service, Turn};
pub use open_meteo::OpenMeteo;
pub use target::{Hit, Target, large, nested};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that ends with the value.
#[derive(Debug)]
struct Server {
    url: String,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        #[expect(clippy::disallowed_methods, reason = "no Lambda freezes a test")]
        let task = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("the fake serves")
        });
        Self { url, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
