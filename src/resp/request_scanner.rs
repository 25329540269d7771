//! Where a client's request ends and where its arguments lie.
//!
//! Owns the reading of `*<count>\r\n` and `$<length>\r\n<bytes>\r\n`, and the hand-over of lines that begin
//! otherwise to the inline rules. Follows `processMultibulkBuffer` and `processInlineBuffer` of Redis 7.0's
//! `networking.c` to the letter, because a client must not be able to tell the difference, and because what the
//! gateway takes for one request has to be one request for the server behind it too.
//!
//! This is the first thing that happens to every request, so the common case is written out: a header of a few
//! digits that is there in full is read byte by byte without a search, arguments are skipped without a look, and
//! the ranges go into a vector that lives as long as the connection. Everything else (a header cut in two, one
//! that is wrong, one that is oddly ended) takes the slow path, which is Redis' own way of reading.
//!
//! Redis does not look at the byte after a `\r` nor at the two bytes after an argument. A later server may (Valkey
//! 9 closes the connection), and this one's connection is shared with other clients. So a request that is not
//! ended by the book is accepted as Redis would, but handed on re-encoded, like an inline one.
//!
//! Deliberately does not: look at the arguments, bound the number of bytes buffered (the caller reads no further
//! than its own bound), or reserve memory for a count that was merely announced.

use memchr::memchr2;

use super::{
    ProtocolError, Request, Span, encode, header::short_header, inline::split_args, integer::parse_integer,
};

/// The first bytes of a TLS greeting: a handshake, of any version (RFC 8446, section 5.1).
const TLS_GREETING: [u8; 2] = [0x16, 0x03];

/// Before it authenticated, a client has no use for more than `AUTH` and `HELLO` take. Both bounds are Redis' own
/// (`processMultibulkBuffer`), so that strangers cannot make the server hold memory.
const UNAUTHENTICATED_ARGUMENTS_MAX: u64 = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: u64 = 16384;

/// Redis' own bound on the count (`INT_MAX`), whatever the configured one.
const COUNT_MAX: u64 = i32::MAX as u64;

/// Ranges kept from one request to the next (8 KiB); one with more gives the memory back when it is done with, or
/// every connection that ever sent a big `MSET` would keep megabytes.
const SPANS_KEPT: usize = 1024;

/// Likewise for the bytes of a re-encoded request.
const INLINE_BYTES_KEPT: usize = 4096;

/// The limits of a request. A client's limits change once, when it authenticates.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Bytes of one argument (`proto-max-bulk-len`, 512 MiB in Redis). More is "invalid bulk length".
    pub bulk_bytes_max: usize,
    /// Arguments of one request, the name included. More is "invalid multibulk length".
    pub arguments_max: usize,
    /// Bytes of one line without its end (64 KiB in Redis): an inline request, or the line of a count.
    pub inline_bytes_max: usize,
    /// False until a client that has to authenticate did; meanwhile 10 arguments of 16384 bytes are the most.
    pub authenticated: bool,
}

/// The result of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestScan {
    /// The first `len` bytes are a request, to be forwarded as they are.
    Complete {
        /// Bytes to consume.
        len: usize,
    },
    /// The first `len` bytes are a request, which [`RequestScanner::inline`] holds in the form to forward.
    Inline {
        /// Bytes to consume.
        len: usize,
    },
    /// The first `len` bytes ask for nothing and get no answer: a blank line, `*0`, `*-1`.
    Empty {
        /// Bytes to consume.
        len: usize,
    },
    /// The request goes on behind the buffer.
    Incomplete {
        /// Further bytes that are surely needed, at least 1. Inside an argument it is all that is missing of it,
        /// so that the caller can make room at once; up to `bulk_bytes_max`, and the client's word only.
        wanted: usize,
    },
    /// No request; nothing that follows has a meaning.
    Malformed(ProtocolError),
}

/// Finds the requests in what one client sends. One per connection.
///
/// Invariant: between two calls the buffer begins with the same bytes and may only have grown, unless the call
/// returned `Complete`, `Inline` or `Empty`; then the caller drops `len` bytes and the next call begins anew.
/// After `Malformed` the scanner is of no further use.
#[derive(Debug)]
pub struct RequestScanner {
    limits: RequestLimits,
    stage: Stage,
    /// The first byte that is not yet accounted for: of a header, or of an argument whose header was read.
    at: usize,
    /// The first byte that may end the line at `at`: those before it were searched. Of no account once `at` has
    /// moved past it, so nothing has to reset it within a request.
    searched: usize,
    /// Arguments still to come, the current one included.
    due: u32,
    /// Whether every line and every argument so far ended in `\r\n`.
    canonical: bool,
    spans: Vec<Span>,
    inline: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Before the first byte of a request.
    Start,
    /// In a line that does not begin with `*`.
    Line,
    /// In the line of `*<count>`.
    Count,
    /// In the line of `$<length>`.
    Length,
    /// In an argument of this many bytes.
    Payload(u32),
}

/// The line that a length or a count is written on.
enum Header {
    /// A whole line: its number unless it has none, and where the next line begins.
    Line { value: Option<i64>, next: usize },
    /// The end of the line is not there yet.
    Partial,
    /// There is no end within the bound.
    TooLong,
}

impl RequestScanner {
    /// A scanner at the beginning of a connection. Allocates nothing before the first request.
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            limits,
            stage: Stage::Start,
            at: 0,
            searched: 0,
            due: 0,
            canonical: true,
            spans: Vec::new(),
            inline: Vec::new(),
        }
    }

    /// Holds from the next header on, also inside a request.
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = limits;
    }

    /// Where the arguments of the request found last lie: relative to the buffer after `Complete`, to
    /// [`Self::inline`] after `Inline`.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// After `Inline`, the request encoded as an array of bulk strings.
    pub fn inline(&self) -> &[u8] {
        &self.inline
    }

    /// Looks for the end of the request that the buffer begins with.
    pub fn scan(&mut self, buf: &[u8]) -> RequestScan {
        if let Stage::Start = self.stage {
            let Some(&first) = buf.first() else { return RequestScan::Incomplete { wanted: 1 } };
            self.begin(first);
        }
        let found = match self.stage {
            Stage::Line => self.scan_line(buf),
            Stage::Count => match self.scan_count(buf) {
                Some(done) => done,
                None => self.scan_arguments(buf),
            },
            _ => self.scan_arguments(buf),
        };
        if !matches!(found, RequestScan::Incomplete { .. }) {
            self.stage = Stage::Start;
        }
        found
    }

    fn begin(&mut self, first: u8) {
        self.stage = if first == b'*' { Stage::Count } else { Stage::Line };
        self.at = 0;
        self.searched = 0;
        self.canonical = true;
        self.spans.clear();
        if self.spans.capacity() > SPANS_KEPT {
            self.spans.shrink_to(SPANS_KEPT);
        }
        if self.inline.capacity() > INLINE_BYTES_KEPT {
            self.inline.clear();
            self.inline.shrink_to(INLINE_BYTES_KEPT);
        }
    }

    /// Reads `*<count>`. `None` if arguments follow.
    fn scan_count(&mut self, buf: &[u8]) -> Option<RequestScan> {
        let (value, next) = match short_header(buf) {
            Some((value, width)) => (Some(i64::from(value)), width),
            None => match self.full_header(buf) {
                Header::Line { value, next } => (value, next),
                Header::Partial => return Some(RequestScan::Incomplete { wanted: 1 }),
                Header::TooLong => return Some(RequestScan::Malformed(ProtocolError::TooBigMultibulkCount)),
            },
        };
        let Some(value) = value else {
            return Some(RequestScan::Malformed(ProtocolError::InvalidMultibulkLength));
        };
        let Some(count) = u64::try_from(value).ok().filter(|&count| count > 0) else {
            return Some(RequestScan::Empty { len: next });
        };
        if count > COUNT_MAX || count > self.limits.arguments_max as u64 {
            return Some(RequestScan::Malformed(ProtocolError::InvalidMultibulkLength));
        }
        if count > UNAUTHENTICATED_ARGUMENTS_MAX && !self.limits.authenticated {
            return Some(RequestScan::Malformed(ProtocolError::UnauthenticatedMultibulkLength));
        }
        self.due = count as u32;
        self.at = next;
        self.stage = Stage::Length;
        None
    }

    /// Reads `$<length>` and the argument behind it, as often as arguments are due.
    fn scan_arguments(&mut self, buf: &[u8]) -> RequestScan {
        loop {
            let length = match self.stage {
                Stage::Payload(length) => length,
                _ => match self.scan_length(buf) {
                    Ok(length) => length,
                    Err(stopped) => return stopped,
                },
            };
            let end = self.at + length as usize;
            let Some(ending) = buf.get(end..end + 2) else {
                self.stage = Stage::Payload(length);
                return RequestScan::Incomplete { wanted: end + 2 - buf.len() };
            };
            self.canonical &= ending == b"\r\n";
            self.spans.push(Span { start: self.at as u32, len: length });
            self.at = end + 2;
            self.stage = Stage::Length;
            self.due -= 1;
            if self.due == 0 {
                return self.complete(buf);
            }
        }
    }

    /// Reads `$<length>` at the current position and moves behind it.
    #[inline]
    fn scan_length(&mut self, buf: &[u8]) -> Result<u32, RequestScan> {
        let rest = buf.get(self.at..).unwrap_or_default();
        let length = match short_header(rest) {
            Some((value, width)) if rest[0] == b'$' => {
                self.at += width;
                u64::from(value)
            }
            _ => match self.full_header(buf) {
                Header::Partial => return Err(RequestScan::Incomplete { wanted: 1 }),
                Header::TooLong => return Err(RequestScan::Malformed(ProtocolError::TooBigBulkCount)),
                Header::Line { .. } if rest[0] != b'$' => {
                    return Err(RequestScan::Malformed(ProtocolError::ExpectedBulk(rest[0])));
                }
                Header::Line { value, next } => {
                    self.at = next;
                    let length = value.and_then(|value| u64::try_from(value).ok());
                    length.ok_or(RequestScan::Malformed(ProtocolError::InvalidBulkLength))?
                }
            },
        };
        // The second bound keeps every span within 32 bits.
        if length > self.limits.bulk_bytes_max as u64 || self.at as u64 + length + 2 > u64::from(u32::MAX) {
            return Err(RequestScan::Malformed(ProtocolError::InvalidBulkLength));
        }
        if length > UNAUTHENTICATED_BULK_BYTES_MAX && !self.limits.authenticated {
            return Err(RequestScan::Malformed(ProtocolError::UnauthenticatedBulkLength));
        }
        Ok(length as u32)
    }

    /// Reads the line at the current position as Redis does: up to the first `\r`, or never beyond a NUL because
    /// `strchr` stops there, plus one byte that nobody looks at.
    #[cold]
    fn full_header(&mut self, buf: &[u8]) -> Header {
        let rest = buf.get(self.at..).unwrap_or_default();
        let window = &rest[..rest.len().min(self.limits.inline_bytes_max.saturating_add(1))];
        let unseen = &window[self.searched.saturating_sub(self.at).min(window.len())..];
        let end = match memchr2(b'\r', 0, unseen) {
            Some(offset) => window.len() - unseen.len() + offset,
            None => window.len(),
        };
        self.searched = self.at + end;
        if window.get(end) != Some(&b'\r') {
            return if rest.len() > self.limits.inline_bytes_max { Header::TooLong } else { Header::Partial };
        }
        let Some(skipped) = rest.get(end + 1) else { return Header::Partial };
        self.canonical &= *skipped == b'\n';
        Header::Line { value: window.get(1..end).and_then(parse_integer), next: self.at + end + 2 }
    }

    /// Reads an inline request: up to the first `\n`, less a `\r` before it.
    #[cold]
    fn scan_line(&mut self, buf: &[u8]) -> RequestScan {
        if buf.starts_with(&TLS_GREETING) {
            return RequestScan::Malformed(ProtocolError::TlsGreeting);
        }
        let window = &buf[..buf.len().min(self.limits.inline_bytes_max.saturating_add(1))];
        let unseen = &window[self.searched.min(window.len())..];
        let end = match memchr2(b'\n', 0, unseen) {
            Some(offset) => window.len() - unseen.len() + offset,
            None => window.len(),
        };
        self.searched = end;
        if window.get(end) != Some(&b'\n') {
            return if buf.len() > self.limits.inline_bytes_max {
                RequestScan::Malformed(ProtocolError::TooBigInline)
            } else {
                RequestScan::Incomplete { wanted: 1 }
            };
        }
        let line = &window[..end];
        match split_args(line.strip_suffix(b"\r").unwrap_or(line)) {
            None => RequestScan::Malformed(ProtocolError::UnbalancedQuotes),
            Some(words) if words.is_empty() => RequestScan::Empty { len: end + 1 },
            Some(words) => {
                self.rewrite(words.iter().map(Vec::as_slice));
                RequestScan::Inline { len: end + 1 }
            }
        }
    }

    fn complete(&mut self, buf: &[u8]) -> RequestScan {
        let len = self.at;
        if self.canonical {
            return RequestScan::Complete { len };
        }
        let spans = std::mem::take(&mut self.spans);
        self.rewrite(Request::new(buf, &spans).args());
        RequestScan::Inline { len }
    }

    /// Encodes the arguments as an array of bulk strings, and notes where they came to lie.
    #[cold]
    fn rewrite<'a>(&mut self, args: impl Iterator<Item = &'a [u8]> + Clone) {
        self.inline.clear();
        self.spans.clear();
        encode::array(&mut self.inline, args.clone().count());
        for arg in args {
            encode::bulk(&mut self.inline, arg);
            let start = self.inline.len() - arg.len() - 2;
            self.spans.push(Span { start: start as u32, len: arg.len() as u32 });
        }
    }
}

#[cfg(test)]
mod tests;
