//! Connecting to an address that the configuration, a server or an operator names.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::Stream;
use crate::config::Address;

/// Addresses tried of those a host name resolves to.
const RESOLVED_ADDRESSES_MAX: usize = 8;

/// Addresses of one name that are known: more than an answer of DNS over UDP holds.
const ADDRESSES_MAX: usize = 256;

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The resolver does not know the host, or failed.
    Resolve(io::Error),
    /// The resolver did not answer in time.
    ResolveTimeout,
    /// The host name has no address.
    NoAddress,
    /// The last address that was tried refused, or can't be reached.
    Unreachable(io::Error),
    /// The last address that was tried did not answer in time.
    Timeout,
    /// It answered, and there is no TLS session with it: a clause that says why.
    Tls(String),
    /// It answered, and not to the greeting of TLS.
    HandshakeTimeout,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) | Self::Unreachable(error) => error.fmt(out),
            Self::ResolveTimeout => out.write_str("the resolver did not answer in time"),
            Self::NoAddress => out.write_str("the name has no address"),
            Self::Timeout => out.write_str("timed out"),
            Self::Tls(why) => out.write_str(why),
            Self::HandshakeTimeout => out.write_str("no answer to the greeting of TLS: it may not speak TLS"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Connects to `address`: to the first of its addresses that answers. The resolver, and each address, is given `patience`; without
/// one the caller bounds the whole. The stream has the options that every stream of ours has.
///
/// # Errors
/// Those of the last address that was tried.
pub async fn connect(address: &Address, patience: Option<Duration>) -> Result<Stream, ConnectError> {
    if let Some(path) = address.unix_path() {
        return match within(patience, UnixStream::connect(path)).await {
            Some(Ok(socket)) => Ok(Stream::Unix(socket, path.into())),
            Some(Err(error)) => Err(ConnectError::Unreachable(error)),
            None => Err(ConnectError::Timeout),
        };
    }
    let resolved = within(patience, lookup_host((address.host.as_str(), address.port))).await;
    let resolved = resolved.ok_or(ConnectError::ResolveTimeout)?.map_err(ConnectError::Resolve)?;
    let mut last = ConnectError::NoAddress;
    for socket_address in resolved.take(RESOLVED_ADDRESSES_MAX) {
        match within(patience, dial(socket_address)).await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => last = ConnectError::Unreachable(error),
            None => last = ConnectError::Timeout,
        }
    }
    Err(last)
}

/// The addresses that a host name has now, in order. An IP address and a Unix socket have none to be asked for.
///
/// # Errors
/// [`ConnectError::Resolve`], [`ConnectError::ResolveTimeout`] or [`ConnectError::NoAddress`].
pub async fn resolve(address: &Address, patience: Duration) -> Result<Vec<IpAddr>, ConnectError> {
    if address.unix_path().is_some() || address.host.parse::<IpAddr>().is_ok() {
        return Ok(Vec::new());
    }
    let resolved = within(Some(patience), lookup_host((address.host.as_str(), address.port))).await;
    let resolved = resolved.ok_or(ConnectError::ResolveTimeout)?.map_err(ConnectError::Resolve)?;
    let mut found: Vec<IpAddr> = resolved.take(ADDRESSES_MAX).map(|address| address.ip()).collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() { Err(ConnectError::NoAddress) } else { Ok(found) }
}

async fn dial(address: SocketAddr) -> io::Result<Stream> {
    let stream = Stream::Tcp(TcpStream::connect(address).await?);
    stream.set_options(None);
    Ok(stream)
}

/// What `future` comes to, or nothing when it takes longer than `patience`.
pub(super) async fn within<F: Future>(patience: Option<Duration>, future: F) -> Option<F::Output> {
    match patience {
        Some(patience) => timeout(patience, future).await.ok(),
        None => Some(future.await),
    }
}
