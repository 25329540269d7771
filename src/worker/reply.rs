//! The bytes of one reply, or of several one behind the other, on their way to whoever waits for them.

use bytes::Bytes;

/// A reply: borrowed where it is copied anyway, owned where it is large.
#[derive(Clone)]
pub enum ReplyBytes<'a> {
    /// Bytes that live elsewhere.
    Borrowed(&'a [u8]),
    /// Bytes to be passed on as they are.
    Owned(Bytes),
}

impl ReplyBytes<'_> {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            ReplyBytes::Borrowed(bytes) => bytes,
            ReplyBytes::Owned(bytes) => bytes,
        }
    }

    /// The bytes, kept beyond the buffer they came in.
    pub fn into_bytes(self) -> Bytes {
        match self {
            ReplyBytes::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            ReplyBytes::Owned(bytes) => bytes,
        }
    }
}
