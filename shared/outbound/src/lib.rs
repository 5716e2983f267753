//! The one HTTP client that everything which talks out goes through.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::{Method, redirect};
use url::{Host, Url};

use crate::address::is_public;

pub use reply::{OutboundResponse, OutboundStream, StreamLimits};

mod address;
mod reply;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

/// The time that a request may take that does not say, from resolving the name to the last byte of the reply.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The time that a connection may take to be there, TLS included; a request with less time has less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest reply, in bytes.
pub const MAX_REPLY: usize = 1024 * 1024;

/// An HTTP client for hosts that a user has named.
///
/// It speaks HTTPS to public addresses only. Every address that a name resolves to is checked by the resolver
/// of the connection itself, so what was checked is what is connected to. Redirects are answers like others,
/// the machine's proxy settings are ignored, a request takes at most 15 seconds unless it says otherwise, and a
/// reply at most 1 MB, or as much as who reads it in pieces allows.
///
/// Cheap to clone and to make: TLS is set up at the first request.
#[derive(Clone)]
pub struct OutboundClient {
    inner: Arc<Inner>,
}

struct Inner {
    allow_loopback: bool,
    own_ports: Vec<u16>,
    lookup: Lookup,
    client: OnceLock<reqwest::Client>,
}

type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The request to send.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    /// The time that it may take, from resolving the name to the last byte of the reply.
    pub timeout: Duration,
}

impl OutboundRequest {
    /// Without headers or body, and with the usual 15 seconds.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            timeout: TIMEOUT,
        }
    }

    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }
}

/// The reason why there is no reply. No text names an address that was resolved: it would map our network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The guard does not allow it; nothing was sent.
    #[error("{0}")]
    Refused(String),
    /// The reply has more bytes than this. The request was received.
    #[error("the reply is larger than {0} bytes")]
    TooLarge(usize),
    /// The request may have been received.
    #[error("no complete reply in time")]
    TimedOut,
    /// The host was not found or not reached.
    #[error("{0}")]
    Unavailable(String),
    /// The connection broke, or what came was not HTTP. The request may have been received.
    #[error("{0}")]
    Failed(String),
}

impl OutboundError {
    /// Returns `true` if the request may have been received, and have taken effect. Without an answer the sender cannot know.
    pub fn sent(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Unavailable(_) => false,
            Self::TooLarge(_) | Self::TimedOut | Self::Failed(_) => true,
        }
    }
}

impl OutboundClient {
    /// With `allow_loopback`, `localhost`, 127.0.0.0/8 and `::1` are reachable, over plain HTTP too.
    pub fn new(allow_loopback: bool) -> Self {
        Self::guarding(allow_loopback, Vec::new())
    }

    /// The same, without the ports of this machine at which the platform's own services listen.
    pub fn guarding(allow_loopback: bool, own_ports: Vec<u16>) -> Self {
        let lookup = Arc::new(|name| -> BoxFuture<'static, _> { Box::pin(look_up(name)) });
        Self::build(allow_loopback, own_ports, lookup)
    }

    fn build(allow_loopback: bool, own_ports: Vec<u16>, lookup: Lookup) -> Self {
        Self {
            inner: Arc::new(Inner {
                allow_loopback,
                own_ports,
                lookup,
                client: OnceLock::new(),
            }),
        }
    }

    /// Returns `true` if a request to `url` would be tried, as far as the URL alone tells.
    pub fn check(&self, url: &Url) -> Result<(), OutboundError> {
        self.inner.check(url).map_err(OutboundError::Refused)
    }

    /// Sends one request, once, and reads the whole reply.
    pub async fn send(&self, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        let limits = StreamLimits {
            bytes: MAX_REPLY,
            idle: request.timeout,
        };
        self.open(request, limits).await?.collect(MAX_REPLY).await
    }

    /// Sends one request, once, and gives the reply as soon as its head is there: the body comes in pieces.
    pub async fn open(
        &self,
        request: OutboundRequest,
        limits: StreamLimits,
    ) -> Result<OutboundStream, OutboundError> {
        self.check(&request.url)?;
        let mut builder = self
            .inner
            .client()?
            .request(request.method, request.url)
            .headers(request.headers)
            .timeout(request.timeout);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let response = builder.send().await.map_err(failure)?;
        Ok(OutboundStream::new(response, limits))
    }
}

impl std::fmt::Debug for OutboundClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OutboundClient")
            .field("allow_loopback", &self.inner.allow_loopback)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn check(&self, url: &Url) -> Result<(), String> {
        let host = url.host().ok_or("the URL has no host")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL must not carry a user name or password".to_owned());
        }
        let loopback = self.allow_loopback
            && match host {
                Host::Domain(name) => is_localhost(name),
                Host::Ipv4(address) => address.is_loopback(),
                Host::Ipv6(address) => address.is_loopback(),
            };
        let port = url.port_or_known_default();
        if loopback && port.is_some_and(|port| self.own_ports.contains(&port)) {
            return Err("the URL leads to one of the platform's own services".to_owned());
        }
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => return Err("the URL must begin with https://".to_owned()),
        }
        let public = match host {
            Host::Domain(_) => true,
            Host::Ipv4(address) => is_public(address.into()),
            Host::Ipv6(address) => is_public(address.into()),
        };
        if public || loopback {
            Ok(())
        } else {
            Err("the URL's host is not a public address".to_owned())
        }
    }

    fn client(&self) -> Result<&reqwest::Client, OutboundError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("Signalbox/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(GuardedResolver {
                allow_loopback: self.allow_loopback,
                lookup: self.lookup.clone(),
            })
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            // A Lambda that was frozen finds its idle connections dead, and then cannot tell whether a request
            // got through.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|_| {
                OutboundError::Unavailable("the HTTP client could not be set up".to_owned())
            })?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// Resolves names for the connections of [`OutboundClient`], and hands out only addresses that may be reached.
struct GuardedResolver {
    allow_loopback: bool,
    lookup: Lookup,
}

/// A name has no address that may be reached, or no name server answered. The error does not say which of them it is: that would
/// tell which names our network has.
#[derive(Debug, thiserror::Error)]
#[error("{0} was not found, or has no public address")]
struct NotFound(String);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let loopback = self.allow_loopback && is_localhost(&name);
        let found = (self.lookup)(name.clone());
        Box::pin(async move {
            let found = found.await.unwrap_or_default();
            let allowed: Vec<_> = found
                .into_iter()
                .filter(|address| {
                    if loopback {
                        address.is_loopback()
                    } else {
                        is_public(*address)
                    }
                })
                // The port is a placeholder: the connection takes the URL's.
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if allowed.is_empty() {
                Err(NotFound(name).into())
            } else {
                Ok(Box::new(allowed.into_iter()) as Addrs)
            }
        })
    }
}

async fn look_up(name: String) -> std::io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0))
        .await?
        .map(|address| address.ip())
        .collect())
}

fn is_localhost(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
}

fn failure(error: reqwest::Error) -> OutboundError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(missing) = cause.downcast_ref::<NotFound>() {
            return OutboundError::Unavailable(missing.to_string());
        }
        source = cause.source();
    }
    // A time limit of connecting counts as a failure to connect: nothing was sent.
    if error.is_connect() {
        OutboundError::Unavailable("the host could not be reached".to_owned())
    } else if error.is_timeout() {
        OutboundError::TimedOut
    } else {
        OutboundError::Failed("the connection broke before the reply was complete".to_owned())
    }
}
