//! The code of the functions: which binary of the template is which Rust function.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use runtime::{Lambda, Services};

type Builder =
    Arc<dyn Fn(Services) -> BoxFuture<'static, Result<Lambda, runtime::Error>> + Send + Sync>;

/// The functions that a platform can run, by the name of their binary.
#[derive(Clone, Default)]
pub struct Registry {
    builders: BTreeMap<&'static str, Builder>,
}

impl Registry {
    /// Every function of this workspace.
    pub fn standard() -> Self {
        Self::default()
            .with("agents", agents::lambda)
            .with("deletions", deletions::lambda)
            .with("docs", docs::lambda)
            .with("events", events::lambda)
            .with("executions", executions::lambda)
            .with("executions-dead-letters", executions::dead_letters)
            .with("executions-worker", executions::worker)
            .with("identity", identity::lambda)
            .with("integrations", integrations::lambda)
            .with("tokens", tokens::lambda)
            .with("triggers", triggers::lambda)
            .with("triggers-tick", triggers::tick)
            .with("usage", usage::lambda)
    }

    /// Adds a function, by what its `main` gives to `runtime::bootstrap::run`.
    #[must_use]
    pub fn with<F, R>(mut self, bin: &'static str, build: F) -> Self
    where
        F: Fn(Services) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Lambda, runtime::Error>> + Send + 'static,
    {
        self.builders
            .insert(bin, Arc::new(move |services| Box::pin(build(services))));
        self
    }

    /// The names of the binaries.
    pub fn bins(&self) -> impl Iterator<Item = &'static str> {
        self.builders.keys().copied()
    }

    pub(crate) fn has(&self, bin: &str) -> bool {
        self.builders.contains_key(bin)
    }

    pub(crate) fn build(
        &self,
        bin: &str,
        services: Services,
    ) -> Option<BoxFuture<'static, Result<Lambda, runtime::Error>>> {
        self.builders.get(bin).map(|build| build(services))
    }
}
