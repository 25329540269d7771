//! One connection of a load. Replies come in the order of the requests, so a queue of what is due tells them apart.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::{Arrival, Catalogue, LoadError};
use crate::resp::{ReplyScan, ReplyScanner};

/// One write and one read.
const CHUNK_BYTES: usize = 64 * 1024;

/// Requests that one connection remembers, sent or not: 32 MiB of memory. Those that fall due beyond it are dropped, and count as
/// unanswered.
const REQUESTS_MAX: usize = 1 << 22;

pub(super) struct Connection {
    stream: TcpStream,
    /// Unanswered requests, oldest first.
    waiting: VecDeque<Arrival>,
    /// How many of them, from the oldest, are in the outbox or on the wire.
    rendered: usize,
    outbox: Vec<u8>,
    written: usize,
    inbox: Box<[u8]>,
    filled: usize,
    scanner: ReplyScanner,
}

impl Connection {
    pub(super) fn open(port: u16) -> Result<Self, LoadError> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            waiting: VecDeque::new(),
            rendered: 0,
            outbox: Vec::new(),
            written: 0,
            inbox: vec![0; CHUNK_BYTES].into(),
            filled: 0,
            scanner: ReplyScanner::new(),
        })
    }

    /// Whether there was room.
    pub(super) fn push(&mut self, arrival: Arrival) -> bool {
        let has_room = self.waiting.len() < REQUESTS_MAX;
        if has_room {
            self.waiting.push_back(arrival);
        }
        has_room
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Arrival> {
        self.waiting.iter()
    }

    /// Writes as much of what is due as the socket takes.
    pub(super) fn send(&mut self, catalogue: &Catalogue) -> Result<(), LoadError> {
        loop {
            if self.written == self.outbox.len() {
                self.render(catalogue);
            }
            if self.outbox.is_empty() {
                return Ok(());
            }
            match self.stream.write(&self.outbox[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn render(&mut self, catalogue: &Catalogue) {
        self.outbox.clear();
        self.written = 0;
        for arrival in self.waiting.range(self.rendered..) {
            if self.outbox.len() >= CHUNK_BYTES {
                break;
            }
            self.outbox.extend_from_slice(catalogue.bytes_of(arrival.request));
            self.rendered += 1;
        }
    }

    /// Reads what is there. `on_reply` gets each request that is answered, and whether by an error.
    pub(super) fn receive(&mut self, mut on_reply: impl FnMut(Arrival, bool)) -> Result<(), LoadError> {
        if self.rendered == 0 {
            return Ok(());
        }
        loop {
            match self.stream.read(&mut self.inbox[self.filled..]) {
                Ok(0) => return Err(LoadError::Closed),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            let was_full = self.filled == self.inbox.len();
            let scanned = self.scan(&mut on_reply)?;
            self.inbox.copy_within(scanned..self.filled, 0);
            self.filled -= scanned;
            if self.filled == self.inbox.len() {
                // A reply that long is none to anything that a load sends.
                return Err(LoadError::Malformed);
            }
            if !was_full {
                return Ok(());
            }
        }
    }

    /// Returns how many bytes of the inbox were whole replies.
    fn scan(&mut self, on_reply: &mut impl FnMut(Arrival, bool)) -> Result<usize, LoadError> {
        let mut at = 0;
        while let Some(kind) = self.inbox[..self.filled].get(at) {
            let is_error = *kind == b'-';
            match self.scanner.scan(&self.inbox[at..self.filled]) {
                ReplyScan::Complete { len } => at += len,
                ReplyScan::Incomplete { .. } => break,
                ReplyScan::TooLong | ReplyScan::Malformed(_) => return Err(LoadError::Malformed),
            }
            let Some(arrival) = self.waiting.pop_front().filter(|_| self.rendered > 0) else {
                return Err(LoadError::Malformed);
            };
            self.rendered -= 1;
            on_reply(arrival, is_error);
        }
        Ok(at)
    }
}
