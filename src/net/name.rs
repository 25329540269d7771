//! What one end of a byte stream is called.

use std::fmt;
use std::net::SocketAddr;

/// The name of a socket, as `getsockname` and `getpeername` tell it. It prints as `CLIENT LIST` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketName {
    /// An IP address and a port.
    Ip(SocketAddr),
}

impl SocketName {
    /// The part that names the host, an IPv6 address without brackets.
    pub fn host(&self) -> String {
        match self {
            Self::Ip(address) => address.ip().to_string(),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
        }
    }

    /// Whether only processes of this host can be at the other end.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
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
        }
    }
}
