//! Requests that leave the wire with their bytes because their replies will not come, or are not the last word.
//!
//! Owns how a request is found with its bytes: those in the log by their order, large ones apart. Deliberately does not judge what becomes of them.

use bytes::Bytes;

use super::{Unanswered, Wire};
use crate::worker::pending::Pending;

impl Wire {
    /// Takes the oldest request off with a copy of its bytes, to send it elsewhere.
    pub fn pop_with_bytes(&mut self) -> Option<(Pending, Bytes)> {
        let bytes = match self.inflight.front()?.large {
            true => self.large.front().cloned().unwrap_or_default(),
            false => Bytes::copy_from_slice(self.bytes_of_front()),
        };
        self.pop().map(|pending| (pending, bytes))
    }

    /// The oldest request as it stands at its reply, with its bytes.
    pub fn front_with_bytes(&mut self) -> Option<(Pending, &[u8])> {
        self.note_written();
        let front = *self.inflight.front()?;
        Some((front, self.bytes_of_front()))
    }

    fn bytes_of_front(&self) -> &[u8] {
        match self.inflight.front() {
            Some(front) if front.large => self.large.front().map_or(&[], |bytes| bytes),
            Some(front) => &self.log[self.start..self.start + front.len as usize],
            None => &[],
        }
    }

    /// The oldest requests with their bytes, those left out that keep their bytes apart.
    pub fn oldest(&self) -> impl Iterator<Item = (&Pending, &[u8])> {
        let mut log = &self.log[self.start..];
        self.inflight.iter().filter(|pending| !pending.large).map(move |pending| {
            let (bytes, rest) = log.split_at(pending.len as usize);
            log = rest;
            (pending, bytes)
        })
    }

    /// Copies of the requests for which `wants` says so, given their bytes, oldest first. Nobody waits any more for the
    /// replies to the originals.
    pub fn disown(&mut self, mut wants: impl FnMut(&Pending, &[u8]) -> bool) -> Vec<(Pending, Bytes)> {
        let mut copies = Vec::new();
        let mut log = &self.log[self.start..];
        let mut large = self.large.iter();
        for pending in &mut self.inflight {
            let bytes = if pending.large {
                large.next().cloned().unwrap_or_default()
            } else {
                let (bytes, rest) = log.split_at(pending.len as usize);
                log = rest;
                if !wants(pending, bytes) {
                    continue;
                }
                Bytes::copy_from_slice(bytes)
            };
            if pending.large && !wants(pending, &bytes) {
                continue;
            }
            copies.push((*pending, bytes));
            pending.disown();
        }
        copies
    }

    /// Empties the wire after the connection broke. Requests come oldest first, each with its bytes and whether it was
    /// written whole.
    pub fn take_unanswered(&mut self) -> Vec<Unanswered> {
        let mut written_bytes = self.written_of_inflight();
        let mut unanswered = Vec::with_capacity(self.inflight.len());
        while let Some((pending, bytes)) = self.pop_with_bytes() {
            let written = bytes.len() <= written_bytes;
            written_bytes = written_bytes.saturating_sub(bytes.len());
            unanswered.push(Unanswered { pending, bytes, written });
        }
        *self = Wire { one_by_one: self.one_by_one, ..Wire::default() };
        unanswered
    }
}
