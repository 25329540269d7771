//! The wire against an arbitrary peer: requests are pushed, bytes written and read, in any order and in pieces of any size, and
//! the peer sends what it likes. Held to what must be true of any such story. Seeds drive it in the unit tests, and the fuzzer.
//!
//! The other half of a connection is played here in its simplest form: a scanner, and what is done at each turn.

use super::{Hook, Pending, ReplyScan, ReplyScanner, Turn, Unanswered, Wire};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;

/// What is known of a request that has not ended.
struct Sent {
    bytes: Vec<u8>,
    /// Bytes that had been pushed before it, since the connection opened.
    from: usize,
}

/// One connection, and what it should amount to.
#[derive(Default)]
pub struct Model {
    wire: Wire,
    scanner: ReplyScanner,
    input: Vec<u8>,
    /// Requests without an end, oldest first.
    unanswered: VecDeque<Sent>,
    pushed: Vec<u8>,
    written: Vec<u8>,
    broken: bool,
}

impl Model {
    /// Does what the next bytes of `script` say, until it is empty; then the connection breaks.
    pub fn run(mut self, mut script: &[u8]) {
        while let Some((&step, rest)) = script.split_first() {
            let (&size, rest) = rest.split_first().unwrap_or((&1, &[]));
            script = rest;
            match step % 8 {
                0 | 1 => self.push(usize::from(size), step),
                2 => self.write(usize::from(size)),
                3 => self.write(usize::MAX),
                // The peer says something well formed.
                4 | 5 => self.read(REPLIES[usize::from(size) % REPLIES.len()], step),
                // Or it sends what comes next in the script.
                6 => {
                    let (noise, rest) = script.split_at(script.len().min(usize::from(size % 16)));
                    script = rest;
                    self.read(noise, step);
                }
                _ => self.cut(),
            }
        }
        self.cut();
    }

    fn push(&mut self, len: usize, step: u8) {
        let bytes: Vec<u8> = (0..len + 1).map(|at| (at + self.pushed.len()) as u8).collect();
        let mut pending = Pending::swallowed(0);
        pending.leading = u32::from(step / 8 % 3);
        pending.delivered = 1 + u32::from(step / 64 % 2);
        pending.trailing = u32::from(step / 128);
        pending.hook = if step / 64 % 2 == 1 { Hook::Subscription } else { Hook::None };
        self.unanswered.push_back(Sent { bytes: bytes.clone(), from: self.pushed.len() });
        self.pushed.extend_from_slice(&bytes);
        if len.is_multiple_of(3) {
            self.wire.push_large(pending, Bytes::from(bytes));
        } else {
            self.wire.push(pending, &[&bytes[..len / 2], &bytes[len / 2..]]);
        }
    }

    fn write(&mut self, count: usize) {
        let mut slices: Vec<IoSlice<'_>> = Vec::new();
        self.wire.slices(&mut slices);
        let mut flat: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        if let Some(single) = self.wire.single_slice() {
            assert_eq!(single, flat, "one slice is all slices");
        }
        assert_eq!(flat.is_empty(), !self.wire.has_unwritten(), "what is to be written is offered");
        flat.truncate(count);
        self.wire.advance_written(flat.len());
        self.written.extend_from_slice(&flat);
        assert!(self.pushed.starts_with(&self.written), "bytes leave as they were pushed");
    }

    fn read(&mut self, bytes: &[u8], step: u8) {
        self.input.extend_from_slice(bytes);
        while !self.broken && !self.input.is_empty() {
            match self.scanner.scan(&self.input) {
                ReplyScan::Complete { len } => {
                    let reply: Vec<u8> = self.input.drain(..len).collect();
                    self.answer(&reply, step);
                }
                ReplyScan::Incomplete { .. } => break,
                ReplyScan::Malformed(_) | ReplyScan::TooLong => self.broken = true,
            }
        }
        if self.broken {
            self.cut();
        }
    }

    fn answer(&mut self, reply: &[u8], step: u8) {
        let whole = self.unanswered.front().is_some_and(|front| self.is_written(front));
        let begun = self.unanswered.front().is_some_and(|front| front.from < self.written.len());
        match self.wire.turn(reply) {
            Err(_) => self.broken = true,
            Ok(Turn::Swallow) => {}
            Ok(Turn::Finish) => {
                assert!(whole, "a request ends before it was written whole");
                self.take_front(step);
            }
            Ok(turn) => {
                assert!(begun, "a request of which nothing was written is answered");
                self.broken = turn == Turn::Refuse;
                let Some(front) = self.wire.front_mut() else { panic!("nobody is answered") };
                let is_error = reply.starts_with(b"-");
                front.delivered =
                    if front.hook == Hook::Subscription && is_error { 0 } else { front.delivered - 1 };
                let may_be_early = front.trailing > 0 || self.broken && is_error;
                assert!(whole || may_be_early, "a request is answered before it was written whole");
                if front.delivered == 0 && front.trailing == 0 {
                    self.take_front(step);
                }
            }
        }
    }

    /// Takes the oldest request off, as the end of it or to send it elsewhere.
    fn take_front(&mut self, step: u8) {
        let Some(sent) = self.unanswered.pop_front() else { panic!("nothing is unanswered") };
        if step.is_multiple_of(2) {
            assert!(self.wire.pop().is_some(), "the oldest request is there");
        } else {
            let bytes = self.wire.pop_with_bytes().map(|(_, bytes)| bytes);
            assert_eq!(bytes.as_deref(), Some(&sent.bytes[..]), "a request that goes elsewhere is whole");
        }
        self.look();
    }

    /// The connection breaks: each request comes back once, whole, and is known to have been written or not.
    fn cut(&mut self) {
        self.look();
        let unanswered = self.wire.take_unanswered();
        assert_eq!(unanswered.len(), self.unanswered.len(), "no request is lost and none is there twice");
        for (Unanswered { bytes, written, .. }, sent) in unanswered.iter().zip(&self.unanswered) {
            assert_eq!(bytes, &sent.bytes);
            assert_eq!(*written, self.is_written(sent), "whether a request was written whole is known");
        }
        *self = Self::default();
        self.look();
    }

    fn look(&self) {
        let bytes = self.unanswered.iter().map(|sent| sent.bytes.len()).sum();
        assert_eq!((self.wire.inflight(), self.wire.inflight_bytes()), (self.unanswered.len(), bytes));
    }

    fn is_written(&self, sent: &Sent) -> bool {
        sent.from + sent.bytes.len() <= self.written.len()
    }
}

const REPLIES: [&[u8]; 8] = [
    b"+OK\r\n",
    b":1\r\n",
    b"$1\r\nv\r\n",
    b"-ERR Protocol error: invalid bulk length\r\n",
    b"-MOVED 1 127.0.0.1:1\r\n",
    b">2\r\n+a\r\n+b\r\n",
    b"*2\r\n:1\r\n",
    b"+OK\r\n+OK\r\n+OK\r\n",
];
