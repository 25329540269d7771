//! The request side of one upstream connection: what is still to be written, what was written and waits for its
//! reply, and the bytes of both.
//!
//! Redis answers in the order it was asked, so a first-in-first-out queue is all that is needed to find the request
//! of a reply. The bytes of a request stay in the log until its reply has come, because the reply may be a
//! redirection (the request goes elsewhere) and the connection may break (an unwritten or read-only request goes
//! again). Keeping them costs nothing: the log is the very buffer that is written to the socket.
//!
//! Owns the bytes and the order. Deliberately knows nothing of sockets, topology or clients.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::pending::Pending;
use crate::limits::{LOG_COMPACT_BYTES_MIN, LOG_KEPT_BYTES_MAX, SLICES_MAX};

/// One stretch of bytes that still has to be written.
#[derive(Debug)]
enum Segment {
    /// The next `usize` bytes of the log.
    Log(usize),
    /// The remainder of a large request.
    Large(Bytes),
}

/// The queues of one connection.
///
/// Invariant: `inflight` holds every request whose reply has not been consumed, oldest first; the log holds the bytes
/// of exactly those among them that are not large, in the same order; `large` holds those of the others.
#[derive(Debug, Default)]
pub struct Wire {
    log: Vec<u8>,
    /// Where the oldest unanswered request begins in the log.
    start: usize,
    /// Where the first unwritten byte of the log is.
    log_written: usize,
    unwritten: VecDeque<Segment>,
    unwritten_bytes: usize,
    inflight: VecDeque<Pending>,
    large: VecDeque<Bytes>,
    inflight_bytes: usize,
}

/// A request taken off the wire, with the bytes to send it again.
pub struct Unanswered {
    /// Who waits for it.
    pub pending: Pending,
    /// The whole request.
    pub bytes: Bytes,
    /// Whether every byte of it was handed to the kernel: if so the server may have run it.
    pub written: bool,
}

impl Wire {
    /// Requests that wait for a reply, written or not.
    pub fn inflight(&self) -> usize {
        self.inflight.len()
    }

    /// Bytes of all requests that wait for a reply.
    pub fn inflight_bytes(&self) -> usize {
        self.inflight_bytes
    }

    /// Whether something is to be written.
    pub fn has_unwritten(&self) -> bool {
        self.unwritten_bytes > 0
    }

    /// The request that the next reply belongs to.
    pub fn front(&self) -> Option<&Pending> {
        self.inflight.front()
    }

    /// As [`Wire::front`], to count its replies.
    pub fn front_mut(&mut self) -> Option<&mut Pending> {
        self.inflight.front_mut()
    }

    /// Appends a request made of `parts` (a prefix such as `ASKING`, then the request), which are copied.
    pub fn push(&mut self, mut pending: Pending, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        for part in parts {
            self.log.extend_from_slice(part);
        }
        pending.len = len as u32;
        pending.large = false;
        self.inflight.push_back(pending);
        self.inflight_bytes += len;
        self.unwritten_bytes += len;
        match self.unwritten.back_mut() {
            Some(Segment::Log(pending_len)) => *pending_len += len,
            _ => self.unwritten.push_back(Segment::Log(len)),
        }
    }

    /// Appends a request without copying it.
    pub fn push_large(&mut self, mut pending: Pending, bytes: Bytes) {
        pending.len = bytes.len() as u32;
        pending.large = true;
        self.inflight.push_back(pending);
        self.inflight_bytes += bytes.len();
        self.unwritten_bytes += bytes.len();
        self.unwritten.push_back(Segment::Large(bytes.clone()));
        self.large.push_back(bytes);
    }

    /// Fills `slices` with what is to be written, in order.
    pub fn slices<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) {
        let mut at = self.log_written;
        for segment in self.unwritten.iter().take(SLICES_MAX) {
            match segment {
                Segment::Log(len) => {
                    slices.push(IoSlice::new(&self.log[at..at + len]));
                    at += len;
                }
                Segment::Large(bytes) => slices.push(IoSlice::new(bytes)),
            }
        }
    }

    /// The bytes to write when all of them are one stretch of the log, which is the usual case.
    pub fn single_slice(&self) -> Option<&[u8]> {
        match (self.unwritten.len(), self.unwritten.front()) {
            (1, Some(Segment::Log(len))) => Some(&self.log[self.log_written..self.log_written + len]),
            _ => None,
        }
    }

    /// Marks the first `count` unwritten bytes as written.
    pub fn advance_written(&mut self, mut count: usize) {
        self.unwritten_bytes -= count;
        while count > 0 {
            let finished = match self.unwritten.front_mut() {
                Some(Segment::Log(len)) => {
                    let step = count.min(*len);
                    self.log_written += step;
                    *len -= step;
                    count -= step;
                    *len == 0
                }
                Some(Segment::Large(bytes)) => {
                    let step = count.min(bytes.len());
                    let _ = bytes.split_to(step);
                    count -= step;
                    bytes.is_empty()
                }
                None => return,
            };
            if finished {
                self.unwritten.pop_front();
            }
        }
    }

    /// Drops the oldest request: its reply has been consumed. Its bytes go with it.
    pub fn pop(&mut self) -> Option<Pending> {
        let pending = self.inflight.pop_front()?;
        self.inflight_bytes -= pending.len as usize;
        if pending.large {
            self.large.pop_front();
        } else {
            self.start += pending.len as usize;
            self.compact();
        }
        Some(pending)
    }

    /// Takes the oldest request off with a copy of its bytes, to send it elsewhere.
    pub fn pop_with_bytes(&mut self) -> Option<(Pending, Bytes)> {
        let front = self.inflight.front()?;
        let bytes = if front.large {
            self.large.front().cloned().unwrap_or_default()
        } else {
            Bytes::copy_from_slice(&self.log[self.start..self.start + front.len as usize])
        };
        self.pop().map(|pending| (pending, bytes))
    }

    /// Empties the wire after the connection broke. Requests come oldest first, each with its bytes and whether it was
    /// written whole.
    pub fn take_unanswered(&mut self) -> Vec<Unanswered> {
        let mut written_bytes = self.inflight_bytes - self.unwritten_bytes;
        let mut unanswered = Vec::with_capacity(self.inflight.len());
        while let Some((pending, bytes)) = self.pop_with_bytes() {
            let written = bytes.len() <= written_bytes;
            written_bytes = written_bytes.saturating_sub(bytes.len());
            unanswered.push(Unanswered { pending, bytes, written });
        }
        *self = Wire::default();
        unanswered
    }

    fn compact(&mut self) {
        if self.start == self.log.len() {
            self.log.clear();
            if self.log.capacity() > LOG_KEPT_BYTES_MAX {
                self.log = Vec::new();
            }
        } else if self.start >= LOG_COMPACT_BYTES_MIN && self.start * 2 >= self.log.len() {
            self.log.copy_within(self.start.., 0);
            self.log.truncate(self.log.len() - self.start);
        } else {
            return;
        }
        self.log_written = self.log_written.saturating_sub(self.start);
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::pending::{Origin, Pending};
    use super::*;

    fn drain(wire: &mut Wire, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while wire.has_unwritten() {
            let mut slices = Vec::new();
            wire.slices(&mut slices);
            let flat: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let count = step.min(flat.len());
            written.extend_from_slice(&flat[..count]);
            wire.advance_written(count);
        }
        written
    }

    #[test]
    fn bytes_are_written_in_the_order_of_the_requests() {
        let large = Bytes::from(vec![b'x'; 100]);
        for step in [1, 3, 7, 1000] {
            let mut wire = Wire::default();
            wire.push(Pending::new(Origin::Swallow), &[b"one"]);
            wire.push_large(Pending::new(Origin::Swallow), large.clone());
            wire.push(Pending::new(Origin::Swallow), &[b"two", b"three"]);
            let expected = [&b"one"[..], &large[..], b"twothree"].concat();
            assert_eq!(drain(&mut wire, step), expected, "in steps of {step}");
            assert_eq!(wire.pop_with_bytes().map(|(_, bytes)| bytes), Some(Bytes::from("one")));
            assert_eq!(wire.pop_with_bytes().map(|(_, bytes)| bytes), Some(large.clone()));
            assert_eq!(wire.pop_with_bytes().map(|(_, bytes)| bytes), Some(Bytes::from("twothree")));
            assert_eq!((wire.inflight(), wire.inflight_bytes()), (0, 0));
        }
    }

    #[test]
    fn a_request_of_which_one_byte_was_not_written_counts_as_unwritten() {
        let mut wire = Wire::default();
        wire.push(Pending::new(Origin::Swallow), &[b"first"]);
        wire.push(Pending::new(Origin::Swallow), &[b"second"]);
        wire.advance_written(10);
        let written: Vec<bool> = wire.take_unanswered().iter().map(|request| request.written).collect();
        assert_eq!(written, [true, false]);
    }

    #[test]
    fn the_log_stays_bounded_while_requests_overlap_without_end() {
        let mut wire = Wire::default();
        let request = [b'r'; 100];
        wire.push(Pending::new(Origin::Swallow), &[&request]);
        for _ in 0..100_000 {
            wire.push(Pending::new(Origin::Swallow), &[&request]);
            wire.advance_written(wire.unwritten_bytes);
            wire.pop();
        }
        assert!(wire.log.capacity() <= 4 * LOG_COMPACT_BYTES_MIN, "the log grew to {}", wire.log.capacity());
        assert_eq!(wire.pop_with_bytes().map(|(_, bytes)| bytes.len()), Some(100));
    }
}
