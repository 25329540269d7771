//! The request side of one upstream connection: what is still to be written, what was written and waits for its
//! reply, and the bytes of both.
//!
//! Redis answers in the order it was asked, so a first-in-first-out queue is all that is needed to find the request
//! of a reply. The bytes of a request stay in the log until its reply has come, because the reply may be a
//! redirection (the request goes elsewhere) and the connection may break (an unwritten or read-only request goes
//! again). Keeping them costs nothing: the log is the very buffer that is written to the socket.
//!
//! The server may send anything at any time. [`Wire::turn`] judges each reply by what was written: a request of which
//! the server does not have the last byte can't have run, so nothing but a refusal can answer it. Redis sends such a
//! refusal when a value is longer than its `proto-max-bulk-len`, and closes. After it the wire is spent: nothing more is
//! written, and what was behind the refused request goes again on another connection.
//!
//! Owns the bytes, the order and the verdict on a reply. Deliberately knows nothing of sockets, topology or clients.

mod batches;
mod unanswered;

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

use bytes::Bytes;

use self::batches::Batches;
use crate::limits::{KEPT_BYTES_MAX, LOG_COMPACT_BYTES_MIN, LOG_KEPT_BYTES_MAX, SLICES_MAX};
use crate::worker::pending::{Hook, Origin, Pending};

/// How Redis begins its last words to a peer whose requests it can't read.
const PROTOCOL_ERROR: &[u8] = b"-ERR Protocol error";

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
/// Invariant: what is unwritten is the end of what is in flight, so `inflight_bytes - unwritten_bytes` is what was written of
/// the requests in flight. Nothing leaves the front without being written whole but by spending the wire.
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
    spent: bool,
    /// A request is written when the one before it has been answered.
    one_by_one: bool,
    /// Requests that were ever appended.
    pushed: u64,
    /// When they began to be written.
    batches: Batches,
}

/// What a reply means to the oldest request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It belongs to nobody, or the request waits for a later one: it is dropped.
    Swallow,
    /// The last of the replies that come after the delivered one: the request can be taken off.
    Finish,
    /// It is one that the request waits for.
    Deliver,
    /// It refuses a request whose end the server has not seen or not looked at. It is the answer, and the last use of the
    /// connection: nobody knows where the server thinks that the next request begins.
    Refuse,
}

/// A reply that the request in turn can't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfTurn {
    /// No request was written, in whole or in part.
    Unasked,
    /// The request was not written whole, and the reply is no refusal.
    Early,
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
    /// A wire on which a request is written when the one before it has been answered.
    pub fn one_by_one() -> Self {
        Self { one_by_one: true, ..Self::default() }
    }

    /// Requests that wait for a reply, written or not.
    pub fn inflight(&self) -> usize {
        self.inflight.len()
    }

    /// Requests that were ever appended.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Requests that were ever answered.
    pub fn answered(&self) -> u64 {
        self.pushed - self.inflight.len() as u64
    }

    /// Bytes of all requests that wait for a reply.
    pub fn inflight_bytes(&self) -> usize {
        self.inflight_bytes
    }

    /// Gives back what the largest burst has left behind.
    pub fn give_back(&mut self) {
        if !self.inflight.is_empty() {
            return;
        }
        if self.log.capacity() > KEPT_BYTES_MAX {
            self.log = Vec::new();
            (self.start, self.log_written) = (0, 0);
        }
        if self.inflight.capacity() > KEPT_BYTES_MAX / size_of::<Pending>() {
            self.inflight = VecDeque::new();
        }
        if self.unwritten.is_empty() {
            self.unwritten = VecDeque::new();
            self.large = VecDeque::new();
        }
        self.batches.give_back();
    }

    /// Whether something is to be written.
    pub fn has_unwritten(&self) -> bool {
        self.unwritten_bytes > 0 && !self.spent && (!self.one_by_one || self.unwritten_of_front() > 0)
    }

    /// Bytes of the oldest request that are still to be written.
    fn unwritten_of_front(&self) -> usize {
        let len = self.inflight.front().map_or(0, |front| front.len as usize);
        len.saturating_sub(self.written_of_inflight())
    }

    /// What `reply` means to the oldest request. The caller acts on it: it takes that request off, or counts down what it
    /// still waits for.
    ///
    /// # Errors
    /// The reply can't be that of any request: the connection is of no further use.
    pub fn turn(&mut self, reply: &[u8]) -> Result<Turn, OutOfTurn> {
        self.note_written();
        let written = self.written_of_inflight();
        let first = reply.first();
        let Some(front) = self.inflight.front_mut() else {
            return if first == Some(&b'>') { Ok(Turn::Swallow) } else { Err(OutOfTurn::Unasked) };
        };
        // What RESP3 sends out of band answers nothing, but that it confirms subscriptions in that way.
        if first == Some(&b'>') && front.hook != Hook::Subscription {
            return Ok(Turn::Swallow);
        }
        if written == 0 {
            return Err(OutOfTurn::Unasked);
        }
        if front.leading > 0 {
            // A part of the request was refused for its length or form, and Redis looks at nothing behind that.
            if reply.starts_with(PROTOCOL_ERROR) {
                front.leading = 0;
                return Ok(Turn::Refuse);
            }
            front.leading -= 1;
            return Ok(Turn::Swallow);
        }
        let is_whole = written >= front.len as usize;
        if front.delivered == 0 {
            if front.trailing > 1 {
                front.trailing -= 1;
                return Ok(Turn::Swallow);
            }
            return if is_whole { Ok(Turn::Finish) } else { Err(OutOfTurn::Early) };
        }
        // What a trailing part of the request is for changes nothing about its answer.
        match (is_whole || front.trailing > 0, first) {
            (true, _) => Ok(Turn::Deliver),
            (false, Some(b'-')) => Ok(Turn::Refuse),
            (false, _) => Err(OutOfTurn::Early),
        }
    }

    /// Bytes of the requests in flight that were handed to the kernel.
    fn written_of_inflight(&self) -> usize {
        self.inflight_bytes - self.unwritten_bytes
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
    // Each request comes through here: the call would cost it some forty instructions.
    #[inline(always)]
    pub fn push(&mut self, mut pending: Pending, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        for part in parts {
            self.log.extend_from_slice(part);
        }
        pending.len = len as u32;
        pending.large = false;
        self.pushed += 1;
        self.inflight.push_back(pending);
        self.inflight_bytes += len;
        self.unwritten_bytes += len;
        if self.spent {
            return;
        }
        match self.unwritten.back_mut() {
            Some(Segment::Log(pending_len)) => *pending_len += len,
            _ => self.unwritten.push_back(Segment::Log(len)),
        }
    }

    /// Appends a request without copying it.
    pub fn push_large(&mut self, mut pending: Pending, bytes: Bytes) {
        pending.len = bytes.len() as u32;
        pending.large = true;
        self.pushed += 1;
        self.inflight.push_back(pending);
        self.inflight_bytes += bytes.len();
        self.unwritten_bytes += bytes.len();
        if !self.spent {
            self.unwritten.push_back(Segment::Large(bytes.clone()));
        }
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

    /// The bytes to write when all of them are one stretch, which is the usual case.
    pub fn single_slice(&self) -> Option<&[u8]> {
        if self.one_by_one {
            return match self.unwritten.front()? {
                Segment::Log(len) => {
                    let len = (*len).min(self.unwritten_of_front());
                    Some(&self.log[self.log_written..self.log_written + len])
                }
                Segment::Large(bytes) => Some(bytes),
            };
        }
        match (self.unwritten.len(), self.unwritten.front()) {
            (1, Some(Segment::Log(len))) => Some(&self.log[self.log_written..self.log_written + len]),
            _ => None,
        }
    }

    /// What is unwritten begins to be written at `now_ns`. Of what was begun before, it went out then.
    pub fn begin_batch(&mut self, now_ns: u64) {
        let end = if self.one_by_one { self.answered() + 1 } else { self.pushed };
        self.batches.begin(end, self.answered(), now_ns);
    }

    /// Says of the oldest request when it began to be written, which is when its node had to do with it.
    #[inline]
    fn note_written(&mut self) {
        let began_ns = self.batches.began_ns(self.answered());
        if let (Some(began_ns), Some(front)) = (began_ns, self.inflight.front_mut()) {
            front.sent_ns = began_ns;
        }
    }

    /// Marks the first `count` unwritten bytes as written.
    pub fn advance_written(&mut self, mut count: usize) {
        while count > 0 {
            let before = count;
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
            self.unwritten_bytes -= before - count;
            if finished {
                self.unwritten.pop_front();
            }
        }
    }

    /// Drops the oldest request: its reply has been consumed. Its bytes go with it. If they were not written whole, the wire
    /// is spent.
    // Each reply comes through here: the call would cost it some forty instructions.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Pending> {
        let written = self.written_of_inflight();
        let pending = self.inflight.pop_front()?;
        self.inflight_bytes -= pending.len as usize;
        if written < pending.len as usize {
            self.spend();
        }
        if pending.large {
            self.drop_large();
        } else {
            self.start += pending.len as usize;
            if self.start == self.log.len() || self.start >= LOG_COMPACT_BYTES_MIN {
                self.compact();
            }
        }
        Some(pending)
    }

    #[cold]
    fn drop_large(&mut self) {
        self.large.pop_front();
    }

    /// Nothing more is written.
    #[cold]
    fn spend(&mut self) {
        self.spent = true;
        self.unwritten.clear();
        self.unwritten_bytes = self.inflight_bytes;
    }

    /// Drops the oldest request if a reply that begins with `first` is the one that its client waits for, and neither an error
    /// nor the only thing that is to be done.
    #[inline]
    pub fn take_answered(&mut self, first: u8) -> Option<Pending> {
        let front = self.inflight.front()?;
        let is_plain = !matches!(first, b'-' | b'>')
            && matches!(front.origin, Origin::Client { .. })
            && front.hook == Hook::None
            && (front.leading, front.delivered, front.trailing, front.losses) == (0, 1, 0, 0)
            && self.written_of_inflight() >= front.len as usize;
        if !is_plain {
            return None;
        }
        self.note_written();
        self.pop()
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

impl fmt::Display for OutOfTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unasked => "it sent a reply that nothing had asked for",
            Self::Early => "it answered a request that it did not have whole",
        })
    }
}

#[cfg(test)]
mod tests;
