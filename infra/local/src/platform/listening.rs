//! Listeners of the platform's ports.

use std::io::ErrorKind;
use std::net::TcpListener;

use anyhow::anyhow;
use tokio::runtime::Handle;

pub(super) const LOOPBACK: &str = "127.0.0.1";

pub(super) fn listen(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind((host, port))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow!("port {port} of {host} is in use by another program; choose one with --port")
        }
        _ => anyhow!(error).context(format!("cannot listen on port {port} of {host}")),
    })
}

/// Hands a listener to the runtime that is to serve it.
pub(super) fn attach(
    listener: TcpListener,
    runtime: &Handle,
) -> std::io::Result<tokio::net::TcpListener> {
    let _context = runtime.enter();
    tokio::net::TcpListener::from_std(listener)
}
