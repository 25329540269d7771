//! What one end of a byte stream is called.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// The name of a socket, as `getsockname` and `getpeername` tell it. It prints as `CLIENT LIST` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketName {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// The path of a Unix socket. Both ends are called by it, as in Redis: the one that dialled has no name of its own.
    Unix(Arc<Path>),
}

impl SocketName {
    /// The part that names the host, an IPv6 address without brackets; the path of a Unix socket.
    pub fn host(&self) -> String {
        match self {
            Self::Ip(address) => address.ip().to_string(),
            Self::Unix(path) => path.display().to_string(),
        }
    }

    /// The port; 0 of a Unix socket.
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }

    /// Whether only processes of this host can be at the other end.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl From<SocketAddr> for SocketName {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "{}:0", path.display()),
        }
    }
}
