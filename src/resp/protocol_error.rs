//! What Redis answers to bytes that are not the protocol.
//!
//! Owns the texts, which are those of `processInlineBuffer` and `processMultibulkBuffer` in `networking.c` of
//! Redis 7.0. Deliberately does not decide the fate of the connection: as in Redis, after any of these nothing
//! that follows on the connection has a meaning, so the caller sends the text and closes.

use bytes::BufMut;

/// A request that cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The line of `*<count>` did not end within the bound of an inline request (64 KiB).
    TooBigMultibulkCount,
    /// The number of arguments is not a number, or above the bound.
    InvalidMultibulkLength,
    /// More than 10 arguments before the client authenticated.
    UnauthenticatedMultibulkLength,
    /// The line of `$<length>` did not end within the bound of an inline request.
    TooBigBulkCount,
    /// An argument began with this byte instead of `$`.
    ExpectedBulk(u8),
    /// The length of an argument is not a number, negative, or above the bound.
    InvalidBulkLength,
    /// An argument of more than 16384 bytes before the client authenticated.
    UnauthenticatedBulkLength,
    /// An inline request did not end within its bound.
    TooBigInline,
    /// A TLS client greets on a port that does not speak TLS. Redis waits for the end of a line instead.
    TlsGreeting,
    /// An inline request has a quote that is not closed, or that is closed in the middle of a word.
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text as Redis words it, without the `ERR ` before it. The offending byte of [`Self::ExpectedBulk`] is
    /// shown as a character, so this text is for logs; [`Self::encode`] writes the very bytes of Redis.
    pub fn message(&self) -> String {
        match self {
            Self::ExpectedBulk(found) => format!("{}{}'", self.text(), char::from(printable(*found))),
            _ => self.text().to_owned(),
        }
    }

    /// Writes the whole error reply, `-ERR Protocol error: ...` and the end of the line, byte for byte as Redis
    /// would: a byte above 127 where `$` was expected is repeated raw, which no `String` can hold.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(b"-ERR ");
        out.put_slice(self.text().as_bytes());
        if let Self::ExpectedBulk(found) = self {
            out.put_slice(&[printable(*found), b'\'']);
        }
        out.put_slice(b"\r\n");
    }

    /// The text up to the byte that [`Self::ExpectedBulk`] quotes.
    fn text(&self) -> &'static str {
        match self {
            Self::TooBigMultibulkCount => "Protocol error: too big mbulk count string",
            Self::InvalidMultibulkLength => "Protocol error: invalid multibulk length",
            Self::UnauthenticatedMultibulkLength => "Protocol error: unauthenticated multibulk length",
            Self::TooBigBulkCount => "Protocol error: too big bulk count string",
            Self::ExpectedBulk(_) => "Protocol error: expected '$', got '",
            Self::InvalidBulkLength => "Protocol error: invalid bulk length",
            Self::UnauthenticatedBulkLength => "Protocol error: unauthenticated bulk length",
            Self::TooBigInline => "Protocol error: too big inline request",
            Self::TlsGreeting => "Protocol error: this port does not speak TLS",
            Self::UnbalancedQuotes => "Protocol error: unbalanced quotes in request",
        }
    }
}

/// Redis turns line ends inside an error text into spaces, or the reply would end too early.
fn printable(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}
