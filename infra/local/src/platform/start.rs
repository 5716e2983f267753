//! Starting a platform, in the order in which its parts need one another.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use runtime::services::http_client;
use runtime::{BackgroundTasks, Config, Services};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::access_file::AccessFile;
use super::environment::environment;
use super::listening::{LOOPBACK, attach, listen};
use super::services::{Embedded, Listeners, Setting};
use super::{Data, Options, Platform, Running, Tasks, Threads, processes};
use crate::data_directory::DataDirectory;
use crate::embedded::access_keys::AccessKeys;
use crate::embedded::s3_authenticator::Origins;
use crate::embedded::sqs::Queues;
use crate::event_sources::EventSource;
use crate::gateway::{Gateway, HttpFunction};
use crate::hosting::{FunctionHandle, Kind, Pools};
use crate::invocation::Invoker;
use crate::network::hosts::Hosts;
use crate::runtime_api::RuntimeApi;
use crate::schedules::{Scheduled, Timetable};
use crate::template::{Deployment, Endpoints, Names, Template};

/// The number of background writes that are done side by side: they shall not be in the way of those that do.
const AFTERWARDS_AT_ONCE: usize = 4;
/// The owner of the platform's own access key. No function has this name.
const PLATFORM: &str = "local";

pub(super) async fn start(options: Options) -> anyhow::Result<Platform> {
    // What can be found out without making anything comes first.
    let template = options.template.read()?;
    check(
        &template,
        &Deployment::evaluate(&template, &options.parameters, &Endpoints::default())?,
        &options,
    )?;
    let gateway_listener = listen(&options.host, options.port)?;
    let data = match &options.data {
        Data::Directory(path) => Some(DataDirectory::open(path)?),
        Data::Ephemeral => None,
    };
    let started_at = options.clock.now();

    // Queue URLs have the port in them, so what functions are told is only known with the ports.
    let listeners = Listeners::bind()?;
    let endpoints = listeners.endpoints()?;
    let deployment = Deployment::evaluate(&template, &options.parameters, &endpoints)?;
    let functions = deployment.functions.iter();
    let functions = functions.map(|function| function.logical_id.as_str());
    let keys = AccessKeys::generate(functions.chain([PLATFORM]));

    let threads = Threads::new()?;
    let runtime = threads.handle();
    let mut services = Tasks::default();
    let address = gateway_listener.local_addr()?;
    let setting = Setting {
        deployment: &deployment,
        data: data.as_ref(),
        clock: options.clock.clone(),
        keys: keys.clone(),
        origins: origins(&options.host, address, &deployment.names),
        dynamodb_proxy: options.dynamodb_proxy,
        s3_proxy: options.s3_proxy,
        runtime,
    };
    let Embedded {
        dynamodb,
        objects,
        queues,
        secrets,
    } = listeners.start(setting, &mut services).await?;

    let environments = deployment
        .functions
        .iter()
        .map(|function| environment(function, &endpoints, address, &keys))
        .collect();
    let invoker = Invoker::new(options.clock.clone(), runtime.clone());
    let mut listeners = Tasks::default();
    let (functions, config, pools) = match &options.bootstraps {
        Some(bootstraps) => {
            let listener = attach(listen(LOOPBACK, 0)?, runtime)?;
            let (runtime_api, serving) = RuntimeApi::at(listener, services.stop.clone())?;
            services.tasks.spawn_on(serving, runtime);
            processes::prepare(
                &template,
                &deployment,
                environments,
                bootstraps,
                &runtime_api,
                &invoker,
                &listeners.stop,
            )?
        }
        None => {
            let (functions, config) = build(
                &template,
                &deployment,
                environments,
                &options.registry,
                &options.clock,
                &invoker,
                runtime,
            )
            .await?;
            (functions, config, Pools::default())
        }
    };
    let mut config = config.ok_or_else(|| {
        anyhow!(
            "{}: Resources: there is no function",
            template.file().display()
        )
    })?;
    let key = keys.of(PLATFORM).context("the platform has no key")?;
    key.id.clone_into(&mut config.aws.access_key_id);
    key.secret.clone_into(&mut config.aws.secret_access_key);
    let access_file = data.as_ref().map(DataDirectory::access_file);
    let access_file = access_file.map(|path| AccessFile::write(path, &endpoints, key));
    let access_file = access_file.transpose()?;
    if let Some(bootstraps) = &options.bootstraps {
        let reaping = pools.reap(bootstraps.idle_for, services.stop.clone());
        services.tasks.spawn_on(reaping, runtime);
    }

    let parts = Parts {
        template: &template,
        deployment: &deployment,
        functions: &functions,
        invoker,
    };
    let gateway = Gateway::new(
        &options.host,
        &deployment,
        parts.http_functions(),
        options.limits,
        options.clock.clone(),
        listeners.stop.clone(),
    );
    let gateway = gateway.map_err(|refused| {
        let (route, problem) = *refused;
        template.function_error(
            &route.function,
            &["Events", &route.event],
            problem.to_string(),
        )
    })?;
    let sources = parts.event_sources(&queues)?;
    let schedules = parts.schedules()?;
    listeners.tasks.spawn_on(
        gateway.serve(attach(gateway_listener, runtime)?, options.drain),
        runtime,
    );
    for source in sources.into_iter().filter(|_| options.event_sources) {
        listeners
            .tasks
            .spawn_on(source.run(listeners.stop.clone()), runtime);
    }
    for schedule in schedules.into_iter().filter(|_| options.schedules) {
        listeners
            .tasks
            .spawn_on(schedule.run(started_at, listeners.stop.clone()), runtime);
    }

    let invoker = parts.invoker;
    Ok(Platform {
        address,
        deployment,
        functions,
        config,
        clock: options.clock,
        invoker,
        drain: options.drain,
        listeners,
        services,
        pools,
        threads,
        dynamodb,
        queues,
        _objects: objects,
        secrets,
        _access_file: access_file,
        data,
    })
}

/// The web pages that may use what the platform has signed: its own, by the names that it has, and those that may call it.
fn origins(host: &str, gateway: SocketAddr, names: &Names) -> Origins {
    let public = names.public_url.iter().filter_map(|url| {
        let (scheme, rest) = url.split_once("://")?;
        Some(format!("{scheme}://{}", rest.split('/').next()?))
    });
    let callers = names.allowed_origins.iter().cloned();
    Origins::new(
        Hosts::new(host, names),
        gateway.port(),
        public.chain(callers),
    )
}

fn check(template: &Template, deployment: &Deployment, options: &Options) -> anyhow::Result<()> {
    for function in &deployment.functions {
        if let Some(bootstraps) = &options.bootstraps {
            processes::binary(template, function, bootstraps)?;
        } else if !options.registry.has(&function.bin) {
            let missing = format!("there is no code for {}", function.bin);
            let id = &function.logical_id;
            return Err(template.function_error(id, &["CodeUri"], missing).into());
        }
    }
    Ok(())
}

/// Builds all functions side by side, as each of them fetches what it needs in its init. Gives the configuration of one of
/// them as well, if there is one.
async fn build(
    template: &Template,
    deployment: &Deployment,
    environments: Vec<HashMap<String, String>>,
    registry: &crate::Registry,
    clock: &runtime::Clock,
    invoker: &Invoker,
    runtime: &Handle,
) -> anyhow::Result<(HashMap<String, Running>, Option<Config>)> {
    let background = {
        let (invoker, turns) = (
            invoker.clone(),
            Arc::new(Semaphore::new(AFTERWARDS_AT_ONCE)),
        );
        BackgroundTasks::spawned_by(move |work| {
            let turns = turns.clone();
            invoker.spawn(async move {
                let _turn = turns.acquire().await;
                work.await;
            });
        })
    };
    let mut shared = None;
    let mut building = Vec::new();
    for (function, environment) in deployment.functions.iter().zip(environments) {
        let id = &function.logical_id;
        let config = Config::from_map(&environment);
        let config = config.map_err(|error| {
            template.function_error(id, &["Environment", "Variables"], error.to_string())
        })?;
        let (_, http) = shared.get_or_insert_with(|| (config.clone(), http_client(&config)));
        let mut services = Services::with_http_client(config, clock.clone(), http.clone());
        services.background = background.clone();
        let built = registry
            .build(&function.bin, services)
            .with_context(|| format!("there is no code for {}", function.bin))?;
        building.push((function, environment, runtime.spawn(built)));
    }
    let mut functions = HashMap::new();
    for (function, environment, built) in building {
        let name = || format!("function {} cannot start", function.logical_id);
        let lambda = built
            .await
            .map_err(|_| anyhow!("it panicked"))
            .with_context(name)?
            .map_err(|error| anyhow!(error))
            .with_context(name)?;
        functions.insert(
            function.logical_id.clone(),
            Running {
                environment,
                hosted: FunctionHandle::library(lambda, function.timeout, invoker.clone()),
            },
        );
    }
    Ok((functions, shared.map(|(config, _)| config)))
}

/// The parts that event sources and schedules are put together from.
struct Parts<'a> {
    template: &'a Template,
    deployment: &'a Deployment,
    functions: &'a HashMap<String, Running>,
    invoker: Invoker,
}

impl Parts<'_> {
    /// The function, if it takes this.
    fn hosted(&self, function: &str, kind: Kind) -> Option<FunctionHandle> {
        let hosted = &self.functions.get(function)?.hosted;
        (hosted.kind() == kind).then(|| hosted.clone())
    }

    fn http_functions(&self) -> Vec<HttpFunction> {
        let http =
            self.functions
                .iter()
                .filter_map(|(id, function)| match function.hosted.kind() {
                    Kind::Requests { streamed } => Some(HttpFunction {
                        logical_id: id.clone(),
                        hosted: function.hosted.clone(),
                        streams: streamed,
                    }),
                    Kind::QueueMessages | Kind::Events => None,
                });
        http.collect()
    }

    fn event_sources(&self, queues: &Queues) -> anyhow::Result<Vec<EventSource>> {
        let sources = self.deployment.queue_sources.iter().map(|source| {
            let refuse = |text: &str| {
                self.template
                    .function_error(&source.function, &["Events", &source.event], text)
            };
            let queue = self
                .deployment
                .queues
                .iter()
                .find(|queue| queue.name == source.queue)
                .ok_or_else(|| refuse("there is no such queue"))?;
            let function = self
                .hosted(&source.function, Kind::QueueMessages)
                .ok_or_else(|| refuse("the function does not take queue messages"))?;
            Ok(EventSource {
                source: source.clone(),
                queue: queue.clone(),
                function,
                queues: queues.clone(),
                invoker: self.invoker.clone(),
            })
        });
        sources.collect()
    }

    fn schedules(&self) -> anyhow::Result<Vec<Scheduled>> {
        let schedules = self
            .deployment
            .schedules
            .iter()
            .filter(|schedule| schedule.enabled)
            .map(|schedule| {
                let refuse = |text: String| {
                    self.template.function_error(
                        &schedule.function,
                        &["Events", &schedule.event],
                        text,
                    )
                };
                let timetable = Timetable::parse(schedule).map_err(refuse)?;
                let function = self
                    .hosted(&schedule.function, Kind::Events)
                    .ok_or_else(|| refuse("the function does not take events".to_owned()))?;
                Ok(Scheduled {
                    schedule: schedule.clone(),
                    timetable,
                    function,
                    invoker: self.invoker.clone(),
                })
            });
        schedules.collect()
    }
}
