//! Servers of others, faked on loopback, for tests of what talks out.

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct FakeServer {
    /// `127.0.0.1:port`
    pub authority: String,
    _serving: JoinSet<std::io::Result<()>>,
}

impl FakeServer {
    /// # Panics
    /// No port is free.
    pub async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        Self {
            authority,
            _serving: serving,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }
}
