//! Where byte streams come in.
//!
//! A listener is bound by the thread that starts the process, which so learns of a taken address before anything else runs, and
//! accepts on the runtime of the thread that serves. Hence two types.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net as unix;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::tls::Acceptor;
use super::{SocketName, Stream};

/// Handshakes that wait to be accepted by a listener that is not shared: the HTTP side, whose askers are few.
const BACKLOG_ALONE: u32 = 1024;

/// Bound and listening; peers wait until somebody accepts them.
#[derive(Debug)]
pub enum BoundListener {
    /// Plain TCP.
    Tcp(net::TcpListener),
    /// TLS over TCP.
    Tls(net::TcpListener, Acceptor),
    /// A Unix socket, at this path.
    Unix(unix::UnixListener, Arc<Path>),
}

impl BoundListener {
    /// Listens on `address` beside others of this process (`SO_REUSEPORT`): the kernel deals the peers out among them. At most
    /// `backlog` peers wait. An IPv6 address takes no IPv4 peers, so that both may be listened on with the same port.
    ///
    /// # Errors
    /// The address is taken by somebody else, or the system refuses.
    pub fn shared(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        listen(socket, address, backlog)
    }

    /// As [`Self::shared`], but nobody can connect to it before [`Self::listen`].
    ///
    /// # Errors
    /// As [`Self::shared`].
    pub fn reserved(address: SocketAddr) -> io::Result<Self> {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        Ok(Self::Tcp(socket.into()))
    }

    /// One that another process has bound, for peers over TCP.
    pub fn inherited(descriptor: OwnedFd) -> Self {
        Self::Tcp(descriptor.into())
    }

    /// The same socket once more, for another process.
    ///
    /// # Errors
    /// Descriptors are short.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.as_fd().try_clone_to_owned(),
            Self::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Lets at most `backlog` peers wait from now on. One that listens already keeps those that wait.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => SockRef::from(listener).listen(backlog),
            Self::Unix(listener, _) => SockRef::from(listener).listen(backlog),
        }
    }

    /// Whether nobody listens on `address` yet, [`Self::shared`] or not.
    ///
    /// # Errors
    /// Somebody does, or the system refuses.
    pub fn probe(address: SocketAddr) -> io::Result<()> {
        let socket = socket(address)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())
    }

    /// Listens on `address` alone.
    ///
    /// # Errors
    /// The address is taken, or the system refuses.
    pub fn alone(address: SocketAddr) -> io::Result<Self> {
        listen(socket(address)?, address, BACKLOG_ALONE)
    }

    /// Speaks TLS with its peers. A Unix socket stays as it is: its file says who may connect.
    #[must_use]
    pub fn with_tls(self, acceptor: Acceptor) -> Self {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => Self::Tls(listener, acceptor),
            Self::Unix(..) => self,
        }
    }

    /// Where it listens: the real port, if it was asked to listen on port 0.
    ///
    /// # Errors
    /// The system refuses, or it is a Unix socket.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr(),
            Self::Unix(..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether its peers begin with a handshake.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(..))
    }

    /// Accepts from now on, on the runtime of the caller.
    ///
    /// # Errors
    /// The runtime can't follow it.
    pub fn accepting(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
            Self::Tls(listener, acceptor) => {
                TcpListener::from_std(listener).map(|listener| Listener::Tls(listener, acceptor))
            }
            Self::Unix(listener, path) => {
                UnixListener::from_std(listener).map(|listener| Listener::Unix(listener, path))
            }
        }
    }
}

/// What to do where an address can't be listened on.
pub fn listen_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop what listens there, choose another address (--listen, --admin), or let gateways share it (gateway.share_port)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "choose an address that this host has, or 0.0.0.0 for all (--listen, --admin)"
        }
        io::ErrorKind::PermissionDenied => {
            "choose a port from 1024 on, or allow lower ones (CAP_NET_BIND_SERVICE, net.ipv4.ip_unprivileged_port_start)"
        }
        io::ErrorKind::AlreadyExists => "remove that file, or choose another path (gateway.unix_socket)",
        _ => "choose another address (--listen, --admin)",
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(socket: Socket, address: SocketAddr, backlog: u32) -> io::Result<BoundListener> {
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(BoundListener::Tcp(socket.into()))
}

/// Accepts peers on one runtime.
#[derive(Debug)]
pub enum Listener {
    /// Plain TCP.
    Tcp(TcpListener),
    /// TLS over TCP.
    Tls(TcpListener, Acceptor),
    /// A Unix socket, at this path.
    Unix(UnixListener, Arc<Path>),
}

impl Listener {
    /// The next peer, with which a handshake may be still to be done. Dropping the future loses none.
    ///
    /// # Errors
    /// Descriptors are short, or the peer has gone before it was accepted: the next may succeed.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(tcp, _)| Stream::Tcp(tcp)),
            Self::Tls(listener, acceptor) => {
                let (tcp, _) = listener.accept().await?;
                acceptor.session(tcp).map(|session| Stream::Tls(Box::new(session)))
            }
            Self::Unix(listener, path) => {
                let (socket, _) = listener.accept().await?;
                Ok(Stream::Unix(socket, Arc::clone(path)))
            }
        }
    }

    /// Whether its peers begin with a handshake.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(..))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system refuses.
    pub fn local(&self) -> io::Result<SocketName> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().map(SocketName::Ip),
            Self::Unix(_, path) => Ok(SocketName::Unix(Arc::clone(path))),
        }
    }
}
