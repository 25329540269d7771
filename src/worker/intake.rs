//! Reading from a socket without a buffer per idle connection.
//!
//! Bytes are read into a scratch buffer that the whole worker shares. Only what is left of an unfinished frame is kept,
//! in the connection's own buffer, and then the rest is read straight behind it, so that a large value is copied once
//! at the most. Client and upstream connections read the same way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::limits::{READ_BYTES_MIN, RESERVE_BYTES_MAX};
use crate::net::Stream;

/// The unfinished part of a connection's input.
#[derive(Debug, Default)]
pub struct Intake {
    /// Bytes that were read and not consumed.
    pub partial: BytesMut,
    /// Further bytes that the unfinished frame surely needs.
    pub wanted: usize,
}

/// Where the bytes of a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Into the scratch buffer: this many bytes, and nothing was left over from before.
    Scratch(usize),
    /// Behind the unfinished frame.
    Partial,
    /// The peer sent its last byte.
    EndOfStream,
}

impl Intake {
    /// Reads once. Registers the task for the next readiness when it returns `Pending`.
    pub fn poll_fill(
        &mut self,
        stream: &mut Stream,
        scratch: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Filled>> {
        if self.partial.is_empty() {
            let mut buffer = ReadBuf::new(scratch);
            return match Pin::new(stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Ok(Filled::EndOfStream)),
                Poll::Ready(Ok(())) => Poll::Ready(Ok(Filled::Scratch(buffer.filled().len()))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
        }
        self.partial.reserve(self.wanted.clamp(READ_BYTES_MIN, RESERVE_BYTES_MAX));
        match poll_read_buf(stream, &mut self.partial, cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(Filled::EndOfStream)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(Filled::Partial)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Keeps what is left of `rest` for the next read.
    pub fn keep(&mut self, rest: &[u8], wanted: usize) {
        self.wanted = wanted;
        if !rest.is_empty() {
            self.partial.reserve(rest.len().saturating_add(wanted.min(RESERVE_BYTES_MAX)));
            self.partial.extend_from_slice(rest);
        }
    }

    /// Drops the first `count` bytes of the kept ones, and the buffer itself once it is empty.
    pub fn consume(&mut self, count: usize) {
        self.partial.advance(count);
        if self.partial.is_empty() {
            self.partial = BytesMut::new();
        }
    }
}

/// `AsyncReadExt::read_buf` for a poll function: dropping that future between polls loses nothing.
fn poll_read_buf(stream: &mut Stream, into: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let future = std::pin::pin!(stream.read_buf(into));
    future.poll(cx)
}
