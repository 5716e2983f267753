//! The groups of functions, each named once: what serves them on one machine, describes them and checks them reads this list.
//!
//! `docs` reads it too, so that it is not in it: where groups are started, it is added with [`group!`].

use futures::future::BoxFuture;
use runtime::{Lambda, Services};
use utoipa::openapi::OpenApi;
use web::RoutePolicies;

/// Builds a function.
pub type Build = fn(Services) -> BoxFuture<'static, Result<Lambda, runtime::Error>>;

/// A resource group: its operations, and the binaries of its functions.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub name: &'static str,
    /// The operations of the function that answers requests.
    pub operations: Option<Operations>,
    /// The binaries by name, each with what its `main` gives to `runtime::bootstrap::run`.
    pub binaries: &'static [(&'static str, Build)],
}

/// The operations of a group.
#[derive(Clone, Copy, Debug)]
pub struct Operations {
    pub describe: fn() -> OpenApi,
    pub policies: fn() -> RoutePolicies,
}

/// Makes a [`Group`]: `group!(agents: agents::routes, "agents" => agents::lambda)`.
#[macro_export]
macro_rules! group {
    ($name:ident $(: $routes:path)?, $($binary:literal => $build:path),+ $(,)?) => {
        $crate::Group {
            name: stringify!($name),
            operations: $crate::group!(@operations $($routes)?),
            binaries: &[$(($binary, |services| Box::pin($build(services)))),+],
        }
    };
    (@operations) => { None };
    (@operations $routes:path) => {
        Some($crate::Operations {
            describe: || $routes().into_openapi(),
            policies: || $routes().policies(),
        })
    };
}

/// All groups but those that read this list.
pub const GROUPS: &[Group] = &[
    group!(identity: identity::routes, "identity" => identity::lambda),
    group!(tokens: tokens::routes, "tokens" => tokens::lambda),
    group!(agents: agents::routes, "agents" => agents::lambda),
    group!(
        executions: executions::routes,
        "executions" => executions::lambda,
        "executions-worker" => executions::worker,
        "executions-dead-letters" => executions::dead_letters,
    ),
    group!(events: events::routes, "events" => events::lambda),
    group!(
        triggers: triggers::routes,
        "triggers" => triggers::lambda,
        "triggers-tick" => triggers::tick,
    ),
    group!(integrations: integrations::routes, "integrations" => integrations::lambda),
    group!(usage: usage::routes, "usage" => usage::lambda),
    group!(deletions, "deletions" => deletions::lambda),
];
