//! A socket with a TLS session on it.
//!
//! ```text
//!   read:   socket --> [cipher, on the stack] --> session --> the caller's buffer (what it can't take: `overflow`)
//!   write:  the caller's bytes --> session: at most RECORDS_BYTES_MAX of records --> socket
//! ```
//!
//! Bounds: what was read and not delivered is at most one read of [`CIPHER_BYTES`] and one record, since nothing is read while
//! some of it is left. What was encoded and not written is at most one burst of [`RECORDS_BYTES_MAX`], and the answers to a
//! handshake, since nothing is encoded while some of it is left.
//!
//! Invariants, those of [`crate::net::Stream`]: bytes count as written once the last of their records is gone. Records that the
//! session makes by itself (handshake, tickets, new keys) leave with the next read or write, whichever comes first; if the
//! socket takes none, the task of the reader waits for it as well.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::Connection;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::certificate::common_name;
use super::explain;

/// Bytes of records taken from the socket at once: two of the longest records.
const CIPHER_BYTES: usize = 32 * 1024;

/// Bytes of records that wait for the socket at the most: one burst of replies or requests.
const RECORDS_BYTES_MAX: usize = 64 * 1024;

/// The first byte of a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// What a client is told that speaks the Redis protocol, or HTTP, where TLS is expected.
pub const PLAIN_CLIENT: &str = "it speaks plain text on a port for TLS: have it use TLS, or a plain port";

/// That, for a client of Redis.
const PLAIN_CLIENT_REPLY: &[u8] =
    b"-ERR this port speaks TLS only: connect with TLS (redis-cli --tls), or to a plain port\r\n";

/// See the module.
#[derive(Debug)]
pub struct TlsStream {
    socket: TcpStream,
    session: Connection,
    /// Decoded bytes that the session could not keep.
    overflow: Vec<u8>,
    /// Decoded bytes that the session keeps.
    readable: usize,
    /// Bytes that were encoded and whose records are not all gone.
    unreported: usize,
    /// Nothing has come yet.
    is_new: bool,
    /// The peer has sent its last byte.
    ended: bool,
}

impl TlsStream {
    /// A session that has yet to begin.
    pub(super) fn new(socket: TcpStream, mut session: Connection) -> Self {
        session.set_buffer_limit(Some(RECORDS_BYTES_MAX));
        Self { socket, session, overflow: Vec::new(), readable: 0, unreported: 0, is_new: true, ended: false }
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The common name of the certificate that the peer has shown.
    pub fn peer_common_name(&self) -> Option<String> {
        common_name(self.session.peer_certificates()?.first()?)
    }

    /// Whether the handshake is still to be done, or the last of it to be sent.
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Ready when the peer has sent something, or takes what waits for it.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn poll_handshake_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.session.wants_write() && self.socket.poll_write_ready(cx)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read_ready(cx)
    }

    /// Takes the next step of the handshake, as far as the peer has answered. Ready when it is done.
    ///
    /// # Errors
    /// The peer or its certificate is refused, it refuses us, or it has gone.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let flushed = self.poll_records_gone(cx)?;
            if !self.session.is_handshaking() {
                return flushed.map(Ok);
            }
            // What comes with the end of the handshake is kept.
            let mut nothing = ReadBuf::new(&mut []);
            if !ready!(self.poll_take_in(cx, &mut nothing))? {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it closed the connection during the TLS handshake",
                )));
            }
        }
    }

    /// Whether bytes, or their end, wait to be read.
    pub fn has_decoded(&self) -> bool {
        self.readable > 0 || !self.overflow.is_empty() || self.ended
    }

    /// Writes what is taken at once: by the runtime's knowledge, or whatever that says if `pressed`.
    pub fn write(&mut self, slices: &[IoSlice<'_>], pressed: bool) -> io::Result<usize> {
        if self.session.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.send_records(pressed)?;
        if self.unreported == 0 {
            self.unreported = self.session.writer().write_vectored(slices)?;
            self.send_records(pressed)?;
        }
        Ok(std::mem::take(&mut self.unreported))
    }

    /// Hands all records to the socket.
    fn send_records(&mut self, pressed: bool) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Socket { socket: &self.socket, pressed }) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ready when no record waits for the socket.
    fn poll_records_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.send_records(false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_write_ready(cx))?;
                }
                other => return Poll::Ready(other),
            }
        }
    }

    /// Reads once from the socket. `false` at the end of the stream.
    fn poll_take_in(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let mut space = [MaybeUninit::uninit(); CIPHER_BYTES];
        let mut cipher = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut cipher))?;
        if cipher.filled().is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(false));
        }
        let taken = self.take_in(cipher.filled(), into);
        // Also an alert that says why the session ends.
        let gone = self.poll_records_gone(cx);
        taken?;
        if let Poll::Ready(Err(error)) = gone {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(true))
    }

    /// Decodes what has come, into the caller's buffer as far as it goes.
    fn take_in(&mut self, mut cipher: &[u8], into: &mut ReadBuf<'_>) -> io::Result<()> {
        if std::mem::take(&mut self.is_new)
            && matches!(self.session, Connection::Server(_))
            && cipher.first() != Some(&HANDSHAKE)
        {
            let _ = self.socket.try_write(PLAIN_CLIENT_REPLY);
            return Err(io::Error::new(io::ErrorKind::InvalidData, PLAIN_CLIENT));
        }
        while !cipher.is_empty() {
            if self.session.read_tls(&mut cipher)? == 0 {
                // Nothing counts behind the end that the peer has announced.
                break;
            }
            let state = self
                .session
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, explain(&error)))?;
            self.readable = state.plaintext_bytes_to_read();
            self.ended |= state.peer_has_closed();
            self.deliver(into)?;
            if self.readable > 0 && !cipher.is_empty() {
                // The session takes nothing in while it keeps much.
                let start = self.overflow.len();
                self.overflow.resize(start + self.readable, 0);
                self.session.reader().read_exact(&mut self.overflow[start..])?;
                self.readable = 0;
            }
        }
        Ok(())
    }

    /// Moves decoded bytes to the caller.
    fn deliver(&mut self, into: &mut ReadBuf<'_>) -> io::Result<()> {
        if !self.overflow.is_empty() {
            let count = self.overflow.len().min(into.remaining());
            into.put_slice(&self.overflow[..count]);
            self.overflow.drain(..count);
            if self.overflow.is_empty() {
                self.overflow = Vec::new();
            }
        }
        while self.readable > 0 && self.overflow.is_empty() && into.remaining() > 0 {
            let count = self.session.reader().read(into.initialize_unfilled())?;
            into.advance(count);
            self.readable -= count;
        }
        Ok(())
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        if this.session.wants_write()
            && let Poll::Ready(Err(error)) = this.poll_records_gone(cx)
        {
            return Poll::Ready(Err(error));
        }
        loop {
            this.deliver(into)?;
            if into.filled().len() > before || this.ended || into.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_take_in(cx, into))?;
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_handshake(cx))?;
        loop {
            match this.write(slices, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(this.socket.poll_write_ready(cx))?;
                }
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_records_gone(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.session.send_close_notify();
        ready!(this.poll_records_gone(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

/// A peer that was told of the end need not take it for a cut.
impl Drop for TlsStream {
    fn drop(&mut self) {
        if !self.session.is_handshaking() {
            self.session.send_close_notify();
            let _ = self.send_records(false);
        }
    }
}

/// Where records go.
struct Socket<'a> {
    socket: &'a TcpStream,
    pressed: bool,
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.pressed {
            true => SockRef::from(self.socket).send_vectored(slices),
            false => self.socket.try_write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
