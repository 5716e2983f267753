//! Functions as their real binaries.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use runtime::Config;
use tokio_util::sync::CancellationToken;

use super::{Bootstraps, Running};
use crate::hosting::{FunctionHandle, Kind, Pool, Pools, Program};
use crate::invocation::Invoker;
use crate::runtime_api::{RuntimeApi, find_binary};
use crate::template::{Deployment, Function, Template, TemplateError};

/// The path of a function's binary.
pub(super) fn binary(
    template: &Template,
    function: &Function,
    bootstraps: &Bootstraps,
) -> Result<PathBuf, TemplateError> {
    let Function {
        logical_id, bin, ..
    } = function;
    let directory = bootstraps.directory.display();
    find_binary(&bootstraps.directory, bin).ok_or_else(|| {
        let missing = format!(
            "{directory} has neither {bin} nor {bin}/bootstrap: build the functions' binaries first"
        );
        template.function_error(logical_id, &["CodeUri"], missing)
    })
}

/// Makes everything ready to start a function's process once there is work for it. Gives the configuration of one of the
/// functions as well.
pub(super) fn prepare(
    template: &Template,
    deployment: &Deployment,
    environments: Vec<HashMap<String, String>>,
    bootstraps: &Bootstraps,
    runtime_api: &RuntimeApi,
    invoker: &Invoker,
    stop: &CancellationToken,
) -> anyhow::Result<(HashMap<String, Running>, Option<Config>, Pools)> {
    let mut pools = Pools::default();
    let mut functions = HashMap::new();
    let mut shared = None;
    for (function, environment) in deployment.functions.iter().zip(environments) {
        let id = &function.logical_id;
        // The function would say the same, but only when it is used.
        let config = Config::from_map(&environment).map_err(|error| {
            template.function_error(id, &["Environment", "Variables"], error.to_string())
        })?;
        shared.get_or_insert(config);
        let kind = kind(deployment, id);
        let program = Program {
            runtime_api: runtime_api.clone(),
            function: id.clone(),
            binary: binary(template, function, bootstraps)?,
            environment: environment.clone(),
            timeout: function.timeout,
            reserved: function.reserved_concurrency,
            batches: batches(deployment, id),
            is_streaming: kind == Kind::Requests { streamed: true },
        };
        let pool = Arc::new(Pool::new(program, stop.clone(), invoker.clone()));
        pools.add(pool.clone());
        let hosted = FunctionHandle::processes(pool, kind, invoker.clone());
        let running = Running {
            environment,
            hosted,
        };
        functions.insert(id.clone(), running);
    }
    Ok((functions, shared, pools))
}

/// The number of batches of messages that the template lets a function work on at once.
fn batches(deployment: &Deployment, function: &str) -> usize {
    let sources = deployment.queue_sources.iter();
    let sources = sources.filter(|source| source.function == function);
    sources
        .filter_map(|source| source.maximum_concurrency)
        .sum()
}

/// A function as the template declares it.
fn kind(deployment: &Deployment, function: &str) -> Kind {
    let mut routes = deployment.routes.iter();
    let mut sources = deployment.queue_sources.iter();
    if let Some(route) = routes.find(|route| route.function == function) {
        Kind::Requests {
            streamed: route.streamed,
        }
    } else if sources.any(|source| source.function == function) {
        Kind::QueueMessages
    } else {
        Kind::Events
    }
}
