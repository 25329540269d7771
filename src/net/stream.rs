//! A connected byte stream.
//!
//! The data path reads with [`AsyncRead`], writes with [`Stream::try_write`] and asks for readiness with
//! [`Stream::poll_write_ready`], so that one poll may try several streams without waiting for any. The cold side uses
//! [`AsyncRead`] and [`AsyncWrite`].
//!
//! Invariants, for every variant:
//!
//! - Bytes count as written only when the system has them. A variant that encodes (TLS) keeps what it has encoded and reports the
//!   bytes as written once the last of their code is gone. So a caller that was refused must offer the same bytes again, with more
//!   behind them or not; both queues of a connection do.
//! - Bytes count as arrived wherever they lie. A variant that decodes ahead says [`Stream::has_arrived`] and reads
//!   without waiting for as long as it holds bytes that were not delivered, since the system will not report them again.
//! - A handshake, where there is one, is done before [`Stream::try_write`] takes anything: the data path takes over no stream that
//!   [`Stream::is_handshaking`]. [`AsyncRead`] and [`AsyncWrite`] do it by themselves. Accepting never waits for a client.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::SocketName;
use super::proxy::{Ends, HeaderError, ProxyError, read_header};
use super::tls::TlsStream;

/// See the module.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
    /// A Unix socket, at this path.
    Unix(UnixStream, Arc<Path>),
}

impl Stream {
    /// The name of the other end.
    ///
    /// # Errors
    /// The other end has gone already.
    pub fn peer(&self) -> io::Result<SocketName> {
        match self {
            Self::Tcp(tcp) => tcp.peer_addr().map(SocketName::Ip),
            Self::Tls(tls) => tls.socket().peer_addr().map(SocketName::Ip),
            Self::Unix(_, path) => Ok(SocketName::Unix(Arc::clone(path))),
        }
    }

    /// The name of our end: what the peer has dialled, on an accepted stream.
    ///
    /// # Errors
    /// The system refuses.
    pub fn local(&self) -> io::Result<SocketName> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().map(SocketName::Ip),
            Self::Tls(tls) => tls.socket().local_addr().map(SocketName::Ip),
            Self::Unix(_, path) => Ok(SocketName::Unix(Arc::clone(path))),
        }
    }

    /// The common name of the certificate that the other end has shown, if it has.
    pub fn peer_common_name(&self) -> Option<String> {
        match self {
            Self::Tls(tls) => tls.peer_common_name(),
            Self::Tcp(_) | Self::Unix(..) => None,
        }
    }

    /// Takes the PROXY header off a stream that a balancer has dialled, before anything else is done with it.
    ///
    /// # Errors
    /// There is none that can be used, as on a Unix socket.
    pub async fn read_proxy_header(&self) -> Result<Option<Ends>, ProxyError> {
        match self {
            Self::Tcp(tcp) => read_header(tcp).await,
            Self::Tls(tls) => read_header(tls.socket()).await,
            Self::Unix(..) => Err(ProxyError::Header(HeaderError::Missing)),
        }
    }

    /// Sends small writes at once, and has the system look for a peer that is silent for `keepalive`. Without these the
    /// connection works all the same, a little worse, so a refusal is ignored.
    pub fn set_options(&self, keepalive: Option<Duration>) {
        let tcp = match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => tls.socket(),
            // It sends at once, and hears of the end of its peer at once.
            Self::Unix(..) => return,
        };
        let _ = tcp.set_nodelay(true);
        if let Some(period) = keepalive {
            let options = TcpKeepalive::new().with_time(period);
            let _ = SockRef::from(tcp).set_tcp_keepalive(&options);
        }
    }

    /// Whether a handshake is still to be done.
    pub fn is_handshaking(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(..) => false,
            Self::Tls(tls) => tls.is_handshaking(),
        }
    }

    /// Ready when the handshake may take its next step.
    ///
    /// # Errors
    /// The stream is broken.
    pub fn poll_handshake_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(..) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_handshake_ready(cx),
        }
    }

    /// Takes the next step of the handshake, if the stream begins with one. Ready when bytes may be exchanged.
    ///
    /// # Errors
    /// The peer refuses us, is refused, speaks something else, or has gone.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(..) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_handshake(cx),
        }
    }

    /// Whether something has arrived that was not read: bytes, or the end of them. It asks the system, and not what the runtime
    /// knows, which may be older than a stop of the process. To be asked before a time limit is held against a peer.
    pub fn has_arrived(&self) -> bool {
        let socket = match self {
            Self::Tcp(tcp) => SockRef::from(tcp),
            Self::Tls(tls) if tls.has_decoded() => return true,
            Self::Tls(tls) => SockRef::from(tls.socket()),
            Self::Unix(unix, _) => SockRef::from(unix),
        };
        let mut byte = [MaybeUninit::uninit()];
        match socket.peek(&mut byte) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            Ok(_) => true,
        }
    }

    /// Writes what the stream takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing now; [`Stream::poll_write_ready`] says when to try again. Any other means that the
    /// stream is broken.
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(bytes),
            Self::Tls(tls) => tls.write(&[IoSlice::new(bytes)], false),
            Self::Unix(unix, _) => unix.try_write(bytes),
        }
    }

    /// As [`Stream::try_write`], from several places.
    ///
    /// # Errors
    /// As [`Stream::try_write`].
    #[inline]
    pub fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write_vectored(slices),
            Self::Tls(tls) => tls.write(slices, false),
            Self::Unix(unix, _) => unix.try_write_vectored(slices),
        }
    }

    /// As [`Stream::try_write_vectored`], also while the runtime has yet to hear that the stream takes something: the kernel says
    /// so only when a good part of its buffer is free, which takes a slow reader long.
    ///
    /// # Errors
    /// As [`Stream::try_write`].
    pub fn press(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => SockRef::from(&*tcp).send_vectored(slices),
            Self::Tls(tls) => tls.write(slices, true),
            Self::Unix(unix, _) => SockRef::from(&*unix).send_vectored(slices),
        }
    }

    /// Ready when a write may succeed; registers the task otherwise.
    #[inline]
    pub fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_write_ready(cx),
            Self::Tls(tls) => tls.socket().poll_write_ready(cx),
            Self::Unix(unix, _) => unix.poll_write_ready(cx),
        }
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buffer),
            Self::Unix(unix, _) => Pin::new(unix).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
            Self::Unix(unix, _) => Pin::new(unix).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, slices),
            Self::Unix(unix, _) => Pin::new(unix).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
            Self::Unix(unix, _) => unix.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
            Self::Unix(unix, _) => Pin::new(unix).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
            Self::Unix(unix, _) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}
