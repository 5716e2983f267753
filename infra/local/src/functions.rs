//! The code of the functions: which binary of the template is which Rust function.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use groups::{GROUPS, Group, group};
use runtime::{Lambda, Services};
use web::RoutePolicies;

/// All groups, with those that read the list of the others.
pub fn all_groups() -> impl Iterator<Item = Group> {
    let docs = group!(docs: docs::routes, "docs" => docs::lambda);
    GROUPS.iter().copied().chain([docs])
}

/// The state that the routes of all groups take.
pub(crate) fn route_policies() -> RoutePolicies {
    let operations = all_groups().filter_map(|group| group.operations);
    operations.fold(RoutePolicies::default(), |all, operations| {
        all.merge(&(operations.policies)())
    })
}

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
        let binaries = all_groups().flat_map(|group| group.binaries);
        binaries.fold(Self::default(), |registry, (bin, build)| {
            registry.with(bin, build)
        })
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
