//! The embedded services of a platform: each behind its authenticator, at an address that is known before anything is started.

use std::net::TcpListener;
use std::sync::Arc;

use runtime::Clock;
use tokio::runtime::Handle;

use super::listening::{LOOPBACK, attach, listen};
use super::{Proxy, Tasks};
use crate::data_directory::DataDirectory;
use crate::embedded::access_keys::AccessKeys;
use crate::embedded::authenticator::{Authenticator, Protocol, Upstream};
use crate::embedded::dynamodb::{self, DynamoDb, STOP_WITHIN, Storage};
use crate::embedded::forwarding::Forwarding;
use crate::embedded::s3::{self, Objects};
use crate::embedded::s3_authenticator::{self, Buckets, Origins};
use crate::embedded::secrets_manager::{self, Secrets};
use crate::embedded::sqs::{self, Queues};
use crate::template::{Deployment, Endpoints};

/// The addresses that the services will listen at.
pub(super) struct Listeners {
    dynamodb: TcpListener,
    s3: TcpListener,
    sqs: TcpListener,
    secrets_manager: TcpListener,
}

/// The services that run.
pub(super) struct Embedded {
    pub(super) dynamodb: DynamoDb,
    pub(super) objects: Objects,
    pub(super) queues: Queues,
    pub(super) secrets: Arc<Secrets>,
}

/// The settings that the services are started with.
pub(super) struct Setting<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) data: Option<&'a DataDirectory>,
    pub(super) clock: Clock,
    pub(super) keys: AccessKeys,
    /// The web pages that may use what is signed for them.
    pub(super) origins: Origins,
    pub(super) dynamodb_proxy: Option<Proxy>,
    pub(super) s3_proxy: Option<Proxy>,
    pub(super) runtime: &'a Handle,
}

impl Listeners {
    pub(super) fn bind() -> anyhow::Result<Self> {
        Ok(Self {
            dynamodb: listen(LOOPBACK, 0)?,
            s3: listen(LOOPBACK, 0)?,
            sqs: listen(LOOPBACK, 0)?,
            secrets_manager: listen(LOOPBACK, 0)?,
        })
    }

    /// The environment that functions get.
    pub(super) fn endpoints(&self) -> std::io::Result<Endpoints> {
        let url = |listener: &TcpListener| -> std::io::Result<String> {
            Ok(format!("http://{}", listener.local_addr()?))
        };
        Ok(Endpoints {
            dynamodb: url(&self.dynamodb)?,
            s3: url(&self.s3)?,
            sqs: url(&self.sqs)?,
            secrets_manager: url(&self.secrets_manager)?,
        })
    }

    /// Starts all services. Requests succeed once this resolves.
    pub(super) async fn start(
        self,
        setting: Setting<'_>,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Embedded> {
        let Setting {
            deployment,
            data,
            clock,
            keys,
            origins,
            dynamodb_proxy,
            s3_proxy,
            runtime,
        } = setting;
        let authenticator_of =
            |protocol: Protocol, listener: &TcpListener| -> std::io::Result<Authenticator> {
                Ok(Authenticator::new(
                    protocol,
                    listener.local_addr()?,
                    keys.clone(),
                ))
            };
        let secrets = Arc::new(Secrets::load(
            &deployment.secrets,
            data.map(DataDirectory::secrets).as_deref(),
        )?);

        let storage = match data {
            Some(directory) => Storage::File(directory.dynamodb()),
            None => Storage::Memory(clock),
        };
        let tables = deployment.tables.clone();
        let authenticator = authenticator_of(dynamodb::PROTOCOL, &self.dynamodb)?;
        let dynamodb = match dynamodb_proxy {
            None => DynamoDb::start(self.dynamodb, authenticator, storage, tables).await?,
            Some(proxy) => {
                let behind = Behind::listen(authenticator)?;
                let dynamodb =
                    DynamoDb::start(behind.listener, behind.back, storage, tables).await?;
                let forwarding =
                    Forwarding::new(proxy(behind.upstream).await, behind.authenticator.clone())?;
                let answer = move |head, body: bytes::Bytes| {
                    let forwarding = forwarding.clone();
                    async move { forwarding.answer(head, body).await }
                };
                let listener = attach(self.dynamodb, runtime)?;
                let stop = tasks.stop.clone();
                let serving = behind
                    .authenticator
                    .serve(listener, answer, stop, STOP_WITHIN);
                tasks.tasks.spawn_on(serving, runtime);
                dynamodb
            }
        };

        let objects = match data {
            Some(directory) => Objects::in_directory(&directory.s3())?,
            None => Objects::temporary()?,
        };
        let buckets = Buckets::Here(objects.open(&deployment.buckets, keys.clone())?);
        let authenticator = authenticator_of(s3_authenticator::PROTOCOL, &self.s3)?;
        let (authenticator, before) = match s3_proxy {
            None => (authenticator, buckets),
            Some(proxy) => {
                let behind = Behind::listen(authenticator)?;
                let listener = attach(behind.listener, runtime)?;
                let stop = tasks.stop.clone();
                let serving = s3::serve(listener, behind.back, origins.clone(), buckets, stop);
                tasks.tasks.spawn_on(serving, runtime);
                let forwarding =
                    Forwarding::new(proxy(behind.upstream).await, behind.authenticator.clone())?;
                (behind.authenticator, Buckets::Behind(forwarding))
            }
        };
        let listener = attach(self.s3, runtime)?;
        let stop = tasks.stop.clone();
        let serving = s3::serve(listener, authenticator, origins, before, stop);
        tasks.tasks.spawn_on(serving, runtime);

        let (address, declared) = (self.sqs.local_addr()?, deployment.queues.clone());
        let queues = runtime
            .spawn(async move { sqs::create(address, &declared).await })
            .await??;
        let authenticator = authenticator_of(sqs::PROTOCOL, &self.sqs)?;
        let (listener, stop) = (attach(self.sqs, runtime)?, tasks.stop.clone());
        let serving = sqs::serve(listener, authenticator, queues.clone(), stop);
        tasks.tasks.spawn_on(serving, runtime);

        let authenticator = authenticator_of(secrets_manager::PROTOCOL, &self.secrets_manager)?;
        let (listener, stop) = (attach(self.secrets_manager, runtime)?, tasks.stop.clone());
        let serving = secrets_manager::serve(listener, authenticator, secrets.clone(), stop);
        tasks.tasks.spawn_on(serving, runtime);
        Ok(Embedded {
            dynamodb,
            objects,
            queues,
            secrets,
        })
    }
}

/// A service that is moved to another address, so that there is room for a proxy between it and its authenticator.
struct Behind {
    authenticator: Authenticator,
    back: Authenticator,
    listener: TcpListener,
    upstream: Upstream,
}

impl Behind {
    fn listen(mut authenticator: Authenticator) -> anyhow::Result<Self> {
        let listener = listen(LOOPBACK, 0)?;
        let (back, upstream) = authenticator.behind(listener.local_addr()?);
        Ok(Self {
            authenticator,
            back,
            listener,
            upstream,
        })
    }
}
