//! Starting a platform, in the order in which its parts need one another.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, anyhow, bail};
use futures::future::try_join_all;
use runtime::{Config, Lambda, Services};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Data, Options, Platform, Running, lambda_environment};
use crate::Registry;
use crate::data_directory::DataDirectory;
use crate::embedded::dynamodb::{DynamoDb, Storage};
use crate::embedded::{secrets_manager, sqs};
use crate::event_sources::EventSource;
use crate::gateway::{Gateway, HttpFunction};
use crate::invocation::Invoker;
use crate::schedules::{Scheduled, Timetable};
use crate::template::{Deployment, Endpoints, Function, Template};

/// How many threads functions run on.
const THREADS: std::ops::RangeInclusive<usize> = 2..=8;

pub(super) async fn start(options: Options) -> anyhow::Result<Platform> {
    // What fails most often comes first, before anything is made on disk.
    let template = Template::read(&options.template)?;
    Deployment::evaluate(&template, &options.parameters, &Endpoints::default())?;
    let gateway_listener = listen(&options.host, options.port)?;
    let data = match &options.data {
        Data::Directory(path) => Some(DataDirectory::open(path)?),
        Data::Ephemeral => None,
    };
    let loopback = Ipv4Addr::LOCALHOST.to_string();
    let (dynamodb_listener, sqs_listener, secrets_listener) = (listen(&loopback, 0)?, listen(&loopback, 0)?, listen(&loopback, 0)?);

    // Queue URLs have the port in them, so the values of variables are only known now.
    let mut endpoints = Endpoints {
        dynamodb: format!("http://{}", dynamodb_listener.local_addr()?),
        sqs: format!("http://{}", sqs_listener.local_addr()?),
        secrets_manager: format!("http://{}", secrets_listener.local_addr()?),
    };
    let deployment = Deployment::evaluate(&template, &options.parameters, &endpoints)?;
    let secrets = secrets_manager::Secrets::load(&deployment.secrets, data.as_ref().map(DataDirectory::secrets).as_deref())?;
    let storage = match &data {
        Some(directory) => Storage::File(directory.dynamodb()),
        None => Storage::Memory(options.clock.clone()),
    };
    let dynamodb = DynamoDb::start(dynamodb_listener, storage, deployment.tables.clone()).await?;
    if let Some(front) = options.dynamodb_front {
        endpoints.dynamodb = format!("http://{}", front(dynamodb.address).await);
    }

    let threads = thread::available_parallelism().map_or(*THREADS.start(), usize::from).clamp(*THREADS.start(), *THREADS.end());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("signalbox").enable_all().build()?;
    let handle = runtime.handle().clone();
    let invoker = Invoker::new(options.clock.clone(), handle.clone());
    let mut platform = Starting {
        services: CancellationToken::new(),
        service_tasks: JoinSet::new(),
        intake: CancellationToken::new(),
        intake_tasks: JoinSet::new(),
        runtime: Some(runtime),
    };

    todo!()
}
