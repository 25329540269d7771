//! The copies themselves: replies by request, within bounds, dropped by key.
//!
//! Owns the copies and says which of them may be used, in terms of a clock of its own that counts the reads sent to make
//! copies. Every operation but those that drop many copies at once takes constant time. Does no IO, and is told the time.
//!
//! A copy is found by its request's bytes and protocol version. Where the same bytes name keys in two clusters, because users have routes
//! of their own, the later copy takes the place of the other. Two lists run through the copies: one in the order of
//! their use, whose end is dropped at the bounds, and one for each key, which is dropped when the key changes. Keys are
//! known by their hash alone: two keys with the same one are dropped together, which is always right.

use std::collections::HashMap;

use ahash::RandomState;
use bytes::Bytes;
use slab::Slab;

use crate::limits::COPY_DROPS;
use crate::resp::RespVersion;

/// Whose invalidations keep a copy fresh: the serial number of a tracking connection.
pub type TrackingSource = u64;

/// What a store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Copies.
    pub entries_max: usize,
    /// Bytes of requests and replies together.
    pub bytes_max: usize,
    /// Bytes of one reply.
    pub value_bytes_max: usize,
}

/// A reply that may be kept.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The request.
    pub request: Bytes,
    /// The protocol version of the reply.
    pub version: RespVersion,
    /// The hash of the request's key.
    pub key: u64,
    /// The bytes.
    pub bytes: Bytes,
    /// Whose invalidations keep it fresh, if anybody's do.
    pub source: Option<TrackingSource>,
    /// The moment at which the read was sent.
    pub sent: u64,
    /// When it is too old, in nanoseconds.
    pub until_ns: u64,
}

/// Its neighbours in a list.
#[derive(Clone, Copy, Default)]
struct Links {
    before: Option<usize>,
    after: Option<usize>,
}

struct Copy {
    reply: Reply,
    by_use: Links,
    by_key: Links,
}

/// The copies of one worker.
pub struct Store {
    copies: Slab<Copy>,
    /// By request, for each protocol version.
    names: [HashMap<Bytes, usize, RandomState>; 2],
    /// The first copy of each key.
    keys: HashMap<u64, usize, RandomState>,
    newest: Option<usize>,
    oldest: Option<usize>,
    bytes: usize,
    bounds: Bounds,
    moment: u64,
    dropped: Vec<u64>,
    dropped_all: u64,
}

impl Store {
    /// An empty store.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            copies: Slab::new(),
            names: Default::default(),
            keys: HashMap::default(),
            newest: None,
            oldest: None,
            bytes: 0,
            bounds,
            moment: 0,
            dropped: Vec::new(),
            dropped_all: 0,
        }
    }

    /// How many copies there are.
    pub fn len(&self) -> usize {
        self.copies.len()
    }

    /// Bytes of their requests and replies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes over bounds, and drops what is beyond them.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.shrink();
    }

    /// Whether a reply of this size may be kept.
    pub fn admits(&self, bytes: usize) -> bool {
        bytes <= self.bounds.value_bytes_max
    }

    /// The moment up to now: reads that were sent have at most this one.
    pub fn moment(&self) -> u64 {
        self.moment
    }

    /// A read is sent: its moment, later than all before.
    pub fn send(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Whether nothing of the key was dropped since a read of it was sent.
    pub fn is_current(&self, key: u64, sent: u64) -> bool {
        sent > self.dropped_all && self.dropped.get(place_of(key)).is_none_or(|dropped| sent > *dropped)
    }

    /// The copy for a request about this key, if there is one that was read at the moment `since` or later and is not too old.
    pub fn get(
        &mut self,
        version: RespVersion,
        (request, key): (&[u8], u64),
        now_ns: u64,
        since: u64,
    ) -> Option<&Bytes> {
        let found = *self.names[index_of(version)].get(request)?;
        let reply = &self.copies[found].reply;
        if reply.key != key {
            return None;
        }
        if reply.until_ns <= now_ns {
            self.remove(found);
            return None;
        }
        if reply.sent < since {
            return None;
        }
        self.unlink_use(found);
        self.link_newest(found);
        Some(&self.copies[found].reply.bytes)
    }

    /// Keeps a reply, unless it is too large, too old, or its key was dropped since its read was sent. Says whether it did.
    pub fn put(&mut self, reply: Reply, now_ns: u64) -> bool {
        let size = reply.request.len() + reply.bytes.len();
        let fits = self.admits(reply.bytes.len()) && size <= self.bounds.bytes_max;
        if !fits || reply.until_ns <= now_ns || !self.is_current(reply.key, reply.sent) {
            return false;
        }
        if let Some(known) = self.names[index_of(reply.version)].get(&reply.request).copied() {
            if self.copies[known].reply.sent > reply.sent {
                return false;
            }
            self.remove(known);
        }
        let (request, version, key) = (reply.request.clone(), reply.version, reply.key);
        let place = self.copies.insert(Copy { reply, by_use: Links::default(), by_key: Links::default() });
        self.names[index_of(version)].insert(request, place);
        self.bytes += size;
        self.link_newest(place);
        self.link_key(place, key);
        self.shrink();
        true
    }

    /// Drops the copy for a request, if its read was sent before this moment.
    pub fn drop_older(&mut self, version: RespVersion, request: &[u8], sent: u64) {
        let known = self.names[index_of(version)].get(request).copied();
        if let Some(place) = known.filter(|place| self.copies[*place].reply.sent < sent) {
            self.remove(place);
        }
    }

    /// Drops the copies of a key, and sees to it that no read sent until now makes one. Returns how many there were.
    pub fn drop_key(&mut self, key: u64) -> usize {
        if self.dropped.is_empty() {
            self.dropped = vec![0; COPY_DROPS];
        }
        self.dropped[place_of(key)] = self.moment;
        let mut count = 0;
        while let Some(first) = self.keys.get(&key).copied() {
            self.remove(first);
            count += 1;
        }
        count
    }

    /// Drops the copies of the sources that `gone` names, and sees to it that no read sent until now makes one, whatever
    /// its source. Returns how many there were.
    pub fn drop_sources(&mut self, gone: impl Fn(Option<TrackingSource>) -> bool) -> usize {
        self.dropped_all = self.moment;
        let of_source = |(place, copy): (usize, &Copy)| gone(copy.reply.source).then_some(place);
        let places: Vec<usize> = self.copies.iter().filter_map(of_source).collect();
        places.iter().for_each(|place| self.remove(*place));
        places.len()
    }

    fn shrink(&mut self) {
        while let Some(oldest) = self.oldest
            && (self.copies.len() > self.bounds.entries_max || self.bytes > self.bounds.bytes_max)
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, place: usize) {
        self.unlink_use(place);
        self.unlink_key(place);
        let reply = self.copies.remove(place).reply;
        self.names[index_of(reply.version)].remove(&reply.request);
        self.bytes -= reply.request.len() + reply.bytes.len();
    }

    fn link_newest(&mut self, place: usize) {
        let second = self.newest.replace(place);
        self.copies[place].by_use = Links { before: None, after: second };
        match second {
            None => self.oldest = Some(place),
            Some(second) => self.copies[second].by_use.before = Some(place),
        }
    }

    fn unlink_use(&mut self, place: usize) {
        let Links { before, after } = self.copies[place].by_use;
        match before {
            None => self.newest = after,
            Some(before) => self.copies[before].by_use.after = after,
        }
        match after {
            None => self.oldest = before,
            Some(after) => self.copies[after].by_use.before = before,
        }
    }

    fn link_key(&mut self, place: usize, key: u64) {
        let second = self.keys.insert(key, place);
        self.copies[place].by_key = Links { before: None, after: second };
        if let Some(second) = second {
            self.copies[second].by_key.before = Some(place);
        }
    }

    fn unlink_key(&mut self, place: usize) {
        let key = self.copies[place].reply.key;
        let Links { before, after } = self.copies[place].by_key;
        match (before, after) {
            (None, None) => drop(self.keys.remove(&key)),
            (None, Some(after)) => drop(self.keys.insert(key, after)),
            (Some(before), after) => self.copies[before].by_key.after = after,
        }
        if let Some(after) = after {
            self.copies[after].by_key.before = before;
        }
    }
}

fn place_of(key: u64) -> usize {
    key as usize & (COPY_DROPS - 1)
}

fn index_of(version: RespVersion) -> usize {
    match version {
        RespVersion::Resp2 => 0,
        RespVersion::Resp3 => 1,
    }
}

#[cfg(test)]
mod tests;
