//! The PROXY header before the bytes of a connection: how it is read off a socket, and not a byte more.
//!
//! What comes behind it is the client's: requests, or the handshake of TLS. So it is looked at where it lies in the system's buffer,
//! and taken from there once it is known to belong to the header. [`header`] knows its form. Bounds no time: who waits for it does.

mod header;

use std::fmt;
use std::io;

use tokio::net::TcpStream;

pub use header::{Ends, HeaderError};

use header::parse;

/// Bytes that are looked at together: more than the usual header, and more than its addresses take.
const LOOK_BYTES: usize = 512;

/// Why there is no header.
#[derive(Debug)]
pub enum ProxyError {
    /// The peer has gone without a word: a balancer that looks whether somebody listens.
    Silent,
    /// It has gone in the middle.
    Cut,
    /// What it sends is no header.
    Header(HeaderError),
    /// The socket is broken.
    Io(io::Error),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => out.write_str("it closed the connection before its PROXY header"),
            Self::Cut => out.write_str("it closed the connection in the middle of its PROXY header"),
            Self::Header(error) => error.fmt(out),
            Self::Io(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for ProxyError {}

/// Takes the header off a connection that has yet to begin otherwise.
///
/// # Errors
/// There is none that can be used.
pub(super) async fn read_header(socket: &TcpStream) -> Result<Option<Ends>, ProxyError> {
    let (mut taken, mut look) = (Vec::new(), [0; LOOK_BYTES]);
    loop {
        let count = socket.peek(&mut look).await.map_err(ProxyError::Io)?;
        if count == 0 {
            return Err(if taken.is_empty() { ProxyError::Silent } else { ProxyError::Cut });
        }
        let before = taken.len();
        taken.extend_from_slice(&look[..count]);
        let header = parse(&taken);
        let taking = header.ok().flatten().map_or(count, |header| header.length.saturating_sub(before));
        take(socket, taking).map_err(ProxyError::Io)?;
        if let Some(header) = header.map_err(ProxyError::Header)? {
            return Ok(header.ends);
        }
    }
}

/// Takes bytes that were looked at, so they are there.
fn take(socket: &TcpStream, count: usize) -> io::Result<()> {
    let (mut left, mut space) = (count, [0; LOOK_BYTES]);
    while left > 0 {
        match socket.try_read(&mut space[..left.min(LOOK_BYTES)])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read,
        }
    }
    Ok(())
}
