//! The options of a platform.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use runtime::Clock;

use crate::embedded::authenticator::Upstream;
use crate::template::{Template, TemplateError};
use crate::{Limits, Registry};

/// Starts a proxy between the authenticator of a service, which checks signatures, and the service: it is given the service and returns
/// the address at which the proxy listens. The proxy must pass on all headers but those that its own connection makes.
pub type Proxy = Box<dyn FnOnce(Upstream) -> BoxFuture<'static, SocketAddr> + Send>;

/// The source of a platform's template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateSource {
    File(PathBuf),
    /// The project's own, as it was when this program was built.
    BuiltIn,
}

impl TemplateSource {
    pub(super) fn read(&self) -> Result<Template, TemplateError> {
        match self {
            Self::File(file) => Template::read(file),
            Self::BuiltIn => Template::parse(
                "template.yaml (built in)",
                include_str!("../../../../template.yaml"),
            ),
        }
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for TemplateSource {
    fn from(file: &P) -> Self {
        Self::File(file.as_ref().to_owned())
    }
}

impl From<PathBuf> for TemplateSource {
    fn from(file: PathBuf) -> Self {
        Self::File(file)
    }
}

/// The storage of a platform's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In a directory that is made if it is not there. One platform at a time may use it.
    Directory(PathBuf),
    /// In memory, for as long as the platform runs.
    Ephemeral,
}

/// Functions as their real binaries, each in processes of its own behind the Lambda Runtime API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstraps {
    /// The directory of the binaries: `<bin>`, as `cargo build` makes it, or `<bin>/bootstrap`, as `cargo lambda build` does.
    pub directory: PathBuf,
    /// The time that a process may have nothing to do before it is ended.
    pub idle_for: Duration,
}

impl Bootstraps {
    /// The binaries of a directory; processes without work end after five minutes.
    pub fn of(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            idle_for: Duration::from_mins(5),
        }
    }
}

/// The options of a platform. [`Options::new`] has what a test wants: any free port, nothing kept.
pub struct Options {
    pub template: TemplateSource,
    /// Values of the template's parameters; the others have their defaults.
    pub parameters: BTreeMap<String, String>,
    pub host: String,
    /// 0 takes any free port.
    pub port: u16,
    pub data: Data,
    /// The clock of the functions. Expiry of items in memory goes by it too.
    pub clock: Clock,
    /// The code of the functions.
    pub registry: Registry,
    /// The binaries to run instead of that code. They go by the system's clock.
    pub bootstraps: Option<Bootstraps>,
    /// `true` if schedules fire, at start and later.
    pub schedules: bool,
    /// `true` if queue messages are brought to functions.
    pub event_sources: bool,
    /// Limits of the gateway on size and time.
    pub limits: Limits,
    /// The time that [`crate::Platform::stop`] waits for what runs.
    pub drain: Duration,
    /// A proxy between DynamoDB and its authenticator.
    pub dynamodb_proxy: Option<Proxy>,
    /// A proxy between S3 and its authenticator. Signatures name the host that the client was told, so it must pass `Host` on as it is.
    pub s3_proxy: Option<Proxy>,
}

impl Options {
    /// An ephemeral platform on any free port of the loopback interface.
    pub fn new(template: impl Into<TemplateSource>) -> Self {
        Self {
            template: template.into(),
            parameters: BTreeMap::new(),
            host: "127.0.0.1".to_owned(),
            port: 0,
            data: Data::Ephemeral,
            clock: Clock::system(),
            registry: Registry::standard(),
            bootstraps: None,
            schedules: true,
            event_sources: true,
            limits: Limits::LOCAL,
            drain: Duration::from_secs(25),
            dynamodb_proxy: None,
            s3_proxy: None,
        }
    }

    /// Sets a template parameter.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }

    /// Refuses what AWS would refuse, where this machine could do more.
    #[must_use]
    pub fn with_strict_limits(mut self) -> Self {
        self.limits = Limits::AWS;
        self
    }
}
