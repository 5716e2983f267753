//! The names that this machine's API has.
//!
//! With DNS rebinding a web page makes its own name resolve to a loopback address, and the browser then takes the API for a part
//! of that page's origin. API Gateway serves its own domain names alone; here a list of names does the same.

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

use crate::template::Names;

/// The hosts that a request's `Host` may name. Ports are not compared: a tunnel may have another.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    names: Vec<String>,
    /// Every name below one of these is accepted.
    domains: Vec<String>,
}

impl Hosts {
    /// Those that the template's parameters name, and what was said to listen at.
    pub(crate) fn new(listening_at: &str, named: &Names) -> Self {
        let mut hosts = Self {
            names: vec![listening_at.to_ascii_lowercase(), "localhost".to_owned()],
            domains: vec![".localhost".to_owned()],
        };
        let public = named.public_url.as_deref().and_then(authority);
        hosts.names.extend(public.as_deref().and_then(name_of));
        for allowed in &named.allowed_hosts {
            match allowed.strip_prefix('*') {
                Some(domain) if domain.starts_with('.') => {
                    hosts.domains.push(domain.to_ascii_lowercase());
                }
                _ => hosts.names.extend(name_of(allowed)),
            }
        }
        hosts
    }

    /// Returns `true` if a request that came in at `local` names one of them, and no other.
    pub(crate) fn has(&self, head: &Parts, local: SocketAddr) -> bool {
        let mut hosts = head.headers.get_all(HOST).iter();
        let header = hosts.next().and_then(|host| host.to_str().ok());
        let target = head.uri.authority().map(Authority::as_str);
        let is_ours = |host| self.is_ours(host, Some(local.ip().to_canonical()));
        hosts.next().is_none() && header.is_some_and(is_ours) && target.is_none_or(is_ours)
    }

    /// Returns `true` if a page of this origin, such as `http://app.localhost:3000`, came from the gateway, which listens at `port`.
    pub(crate) fn has_origin(&self, origin: &str, port: u16) -> bool {
        let Some(authority) = origin.strip_prefix("http://") else {
            return false;
        };
        let has_port = authority.parse::<Authority>().is_ok_and(|authority| {
            // Browsers leave the scheme's own port out.
            authority.port_u16().unwrap_or(80) == port
        });
        has_port && self.is_ours(authority, None)
    }

    /// Returns `true` if it is a name of the API for a client that reaches it at the address `local`.
    fn is_ours(&self, host: &str, local: Option<IpAddr>) -> bool {
        let Some(name) = name_of(host) else {
            return false;
        };
        let literal = name.trim_matches(['[', ']']).parse::<IpAddr>();
        if let Ok(address) = literal.map(|address| address.to_canonical()) {
            // The browser resolved no name for this request, so no DNS answer has led it here.
            return address.is_loopback() || local == Some(address) || self.names.contains(&name);
        }
        let is_below = |domain: &String| name.len() > domain.len() && name.ends_with(domain);
        self.names.contains(&name) || self.domains.iter().any(is_below)
    }
}

/// The host of what may have a port, as names are compared.
fn name_of(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    if host.contains('@') {
        return None;
    }
    let name = authority.host().to_ascii_lowercase();
    Some(name.strip_suffix('.').unwrap_or(&name).to_owned())
}

/// The authority of a URL: the part between its scheme and its path.
fn authority(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    Some(rest.split('/').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_names_are_known_from_others() {
        let named = Names {
            public_url: Some("https://agents.example.com:8443/dev".to_owned()),
            allowed_hosts: vec!["build.example".to_owned(), "*.Tunnel.example".to_owned()],
            ..Names::default()
        };
        let hosts = Hosts::new("workstation", &named);
        let local = "192.0.2.7:3000".parse().unwrap();
        let has = |host: &str| {
            let request = http::Request::builder().uri("/x").header(HOST, host);
            hosts.has(&request.body(()).unwrap().into_parts().0, local)
        };
        for own in [
            "127.0.0.1:3000",
            "127.9.9.9",
            "[::1]:3000",
            "localhost",
            "LOCALHOST.:8080",
            "app.localhost:3000",
            "192.0.2.7:3000",
            "[::ffff:192.0.2.7]:3000",
            "workstation:3000",
            "Agents.Example.com",
            "build.example:80",
            "a.b.tunnel.example",
        ] {
            assert!(has(own), "{own}");
        }
        for other in [
            "evil.example",
            "192.0.2.8:3000",
            "localhost.evil.example",
            "xlocalhost",
            ".localhost",
            "agents.example.com.evil.example",
            "example.com",
            "tunnel.example",
            "xtunnel.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "2130706433",
            "",
        ] {
            assert!(!has(other), "{other}");
        }
    }

    #[test]
    fn pages_of_the_gateway_have_its_names_and_its_port() {
        let hosts = Hosts::new("workstation", &Names::default());
        for (origin, port) in [
            ("http://localhost:3000", 3000),
            ("http://app.localhost:3000", 3000),
            ("http://[::1]:3000", 3000),
            ("http://127.0.0.1", 80),
            ("http://workstation:3000", 3000),
        ] {
            assert!(hosts.has_origin(origin, port), "{origin}");
        }
        for origin in [
            "http://localhost:3001",
            "http://localhost",
            "https://localhost:3000",
            "http://evil.example:3000",
            "http://localhost:3000@evil.example",
            "http://evil.example/localhost:3000",
            "http://localhost:3000/x",
            "null",
            "",
        ] {
            assert!(!hosts.has_origin(origin, 3000), "{origin}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let hosts = Hosts::new("127.0.0.1", &Names::default());
        let local = "127.0.0.1:3000".parse().unwrap();
        let has = |uri: &str, named: &[&str]| {
            let mut request = http::Request::builder().uri(uri);
            for host in named {
                request = request.header(HOST, *host);
            }
            hosts.has(&request.body(()).unwrap().into_parts().0, local)
        };
        assert!(has("http://localhost/x", &["localhost"]));
        assert!(!has("http://evil.example/x", &["localhost"]));
        assert!(!has("/x", &["localhost", "evil.example"]));
        assert!(!has("/x", &["localhost", "localhost"]));
        assert!(!has("/x", &[]));
    }
}
