//! Where a server's reply ends.
//!
//! Owns the shape of every RESP2 and RESP3 type, and nothing of its meaning: the gateway forwards most replies as
//! the bytes they are.
//!
//! A reply is a tree, but its end can be found without one. The scanner counts the elements that are still due: it
//! begins with one; a string or a number takes one off; an array of n takes one off and adds n. When none is due,
//! the reply ends there. Nesting needs no stack and no recursion, so a script that makes Redis answer with a
//! hundred thousand nested arrays costs the gateway as much as a flat one.
//!
//! Deliberately does not: check that a number is a number or that a map's keys differ, read the streamed strings
//! and aggregates of the RESP3 draft (no server sends them), or bound the size of a reply as a whole; but a line has a
//! bound, since a server that never ends one would be read for ever.

use memchr::memchr;

use super::{header::short_header, integer::parse_integer};
use crate::limits::{REPLY_HEADER_BYTES_MAX, REPLY_LINE_BYTES_MAX};

/// A line of up to this many bytes is searched without a call, for `+OK` and `:1` are the most common replies.
const SHORT_LINE: usize = 16;

/// The result of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyScan {
    /// The first `len` bytes are one whole reply. The first of them says which kind.
    Complete {
        /// Bytes to consume.
        len: usize,
    },
    /// The reply goes on behind the buffer.
    Incomplete {
        /// Further bytes that are surely needed, at least 1. Inside a bulk string it is all that is missing of it.
        wanted: usize,
    },
    /// A line is longer than any that a server in its right mind sends: the same follows.
    TooLong,
    /// Not RESP: the connection to the server is of no further use. Says what was expected.
    Malformed(&'static str),
}

/// Finds the replies in what one server sends. One per upstream connection.
///
/// Invariant: between two calls the buffer begins with the same bytes and may only have grown, unless the call
/// returned `Complete`; then the caller drops `len` bytes and the next call begins anew.
#[derive(Clone, Copy, Debug)]
pub struct ReplyScanner {
    /// The first byte that is not yet accounted for. While a bulk string is awaited, the first one behind it.
    at: usize,
    /// Bytes behind `at` that are known not to end the line there.
    searched: usize,
    /// Elements that are still to come.
    due: u64,
    /// Whether `at` is already behind a bulk string whose end has not arrived.
    in_bulk: bool,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplyScanner {
    /// A scanner at the beginning of a connection.
    pub const fn new() -> Self {
        Self { at: 0, searched: 0, due: 1, in_bulk: false }
    }

    /// Looks for the end of the reply that the buffer begins with.
    pub fn scan(&mut self, buf: &[u8]) -> ReplyScan {
        let stopped = loop {
            if let Err(stopped) = self.scan_element(buf) {
                break stopped;
            }
            if self.due == 0 {
                break ReplyScan::Complete { len: self.at };
            }
        };
        if !matches!(stopped, ReplyScan::Incomplete { .. }) {
            *self = Self::new();
        }
        stopped
    }

    /// One element fewer is due, and its own elements are due as well.
    #[inline]
    fn scan_element(&mut self, buf: &[u8]) -> Result<(), ReplyScan> {
        if self.in_bulk {
            return self.end_bulk(buf);
        }
        let Some(rest @ [kind, ..]) = buf.get(self.at..) else {
            return Err(ReplyScan::Incomplete { wanted: 1 });
        };
        let elements = match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {
                let width = self.line_width(rest, REPLY_LINE_BYTES_MAX)?;
                self.advance(width);
                0
            }
            b'$' | b'=' | b'!' => match self.number(rest, *kind == b'$')? {
                None => 0,
                Some(length) => {
                    self.at = usize::try_from(length)
                        .ok()
                        .and_then(|length| self.at.checked_add(length)?.checked_add(2))
                        .ok_or(ReplyScan::Malformed("a length that can be"))?;
                    self.in_bulk = true;
                    return self.end_bulk(buf);
                }
            },
            b'*' | b'~' | b'>' => self.number(rest, *kind == b'*')?.unwrap_or(0),
            b'%' => self.number(rest, false)?.unwrap_or(0).saturating_mul(2),
            // What an attribute describes follows it and is one more element.
            b'|' => self.number(rest, false)?.unwrap_or(0).saturating_mul(2).saturating_add(1),
            _ => return Err(ReplyScan::Malformed("a type of RESP")),
        };
        self.due = (self.due - 1).checked_add(elements).ok_or(ReplyScan::Malformed("a count that can be"))?;
        Ok(())
    }

    /// Settles the bulk string that `at` is behind.
    #[inline]
    fn end_bulk(&mut self, buf: &[u8]) -> Result<(), ReplyScan> {
        match buf.get(self.at - 2..self.at) {
            None => Err(ReplyScan::Incomplete { wanted: self.at - buf.len() }),
            Some(b"\r\n") => {
                self.in_bulk = false;
                self.due -= 1;
                Ok(())
            }
            Some(_) => Err(ReplyScan::Malformed("the end of a bulk string")),
        }
    }

    /// Reads the header at the current position and moves behind it. `None` is the null of RESP2, length -1.
    #[inline]
    fn number(&mut self, rest: &[u8], nullable: bool) -> Result<Option<u64>, ReplyScan> {
        if let Some((value, width)) = short_header(rest) {
            self.advance(width);
            return Ok(Some(u64::from(value)));
        }
        // A read that finds nothing is as usual as one that finds something.
        if nullable && rest.starts_with(b"$-1\r\n") {
            self.advance(5);
            return Ok(None);
        }
        self.unusual_number(rest, nullable)
    }

    #[cold]
    fn unusual_number(&mut self, rest: &[u8], nullable: bool) -> Result<Option<u64>, ReplyScan> {
        let width = self.line_width(rest, REPLY_HEADER_BYTES_MAX)?;
        let number = match parse_integer(&rest[1..width - 2]) {
            Some(-1) if nullable => None,
            Some(number) => Some(
                u64::try_from(number).map_err(|_| ReplyScan::Malformed("a length that is not negative"))?,
            ),
            None => return Err(ReplyScan::Malformed("a length")),
        };
        self.advance(width);
        Ok(number)
    }

    fn advance(&mut self, width: usize) {
        self.at += width;
        self.searched = 0;
    }

    /// The bytes from the start of a line to behind its `\r\n`. A `\r` or `\n` alone does not end it: Redis never
    /// sends one there, but a module can.
    #[inline]
    fn line_width(&mut self, rest: &[u8], bytes_max: usize) -> Result<usize, ReplyScan> {
        if self.searched == 0 {
            let short = rest.len().min(SHORT_LINE);
            if let Some(end) = rest[..short].windows(2).position(|pair| pair == b"\r\n") {
                return Ok(end + 2);
            }
        }
        self.long_line_width(rest, bytes_max)
    }

    fn long_line_width(&mut self, rest: &[u8], bytes_max: usize) -> Result<usize, ReplyScan> {
        let rest = &rest[..rest.len().min(bytes_max)];
        while let Some(offset) = memchr(b'\n', rest.get(self.searched..).unwrap_or_default()) {
            self.searched += offset + 1;
            if rest[..self.searched].ends_with(b"\r\n") {
                return Ok(self.searched);
            }
        }
        self.searched = rest.len();
        if rest.len() == bytes_max {
            return Err(ReplyScan::TooLong);
        }
        Err(ReplyScan::Incomplete { wanted: 1 })
    }
}

#[cfg(test)]
mod tests;
