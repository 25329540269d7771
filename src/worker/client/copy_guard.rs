//! What keeps a client from being served a copy older than what it has seen or written itself.
//!
//! A client that names a key in any way but a read that is served from a copy, or makes one, may know a newer state of the
//! key than copies have: it wrote it, or Redis itself answered. From then on that key is *open* for this client. While the last
//! of such requests is unanswered, its reads go to Redis the ordinary way, behind them. Once all are answered, the next read
//! drops the key's copies and makes a new one: that read is sent after the answers, so it sees at least what they saw.
//! What names no keys (a transaction, a script) opens all keys: then copies older than this moment are not for this client.
//! So does a change of the protocol version after a first read: the copies in either version are made apart, so those of the
//! new one may be older than what was served in the old one.
//!
//! While a client waits for the reply to a read, a copy that another read has made before may still be there, or come. The
//! reply may turn out to be newer, so what the client reads of that key meanwhile is at least as new as the read it waits for.
//! When the reply comes it takes the older copy's place, or, if none can be made of it, takes the older copy away.

use smallvec::SmallVec;

use super::Client;
use super::replies::ReplyQueue;
use crate::limits::{AWAITED_KEYS_MAX, OPEN_KEYS_MAX};
use crate::worker::names::CacheFetchId;

/// What one client knows beside the copies.
#[derive(Debug, Default)]
pub struct CopyGuard {
    /// Reads of it that wait for the reply that makes a copy.
    awaited: u32,
    /// The keys of such reads since there was none, and the moments at which the reads were sent.
    awaited_keys: SmallVec<[(u64, u64); 2]>,
    /// Hashes of open keys.
    open: SmallVec<[u64; 4]>,
    /// All keys are open.
    all_open: bool,
    /// A read of it may have been served from a copy, or made one, since it last changed its protocol version.
    has_read: bool,
    /// The slot in the reply queue of the last request that opened anything.
    slot: u32,
    /// Copies read before this moment are not for it.
    since: u64,
}

/// What a read may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Copies that were read at this moment or later.
    pub since: u64,
    /// The copies that there are of its key are too old for the client, and are dropped.
    pub drops_key: bool,
}

impl Client {
    /// The request at hand waits for the reply to a fetch of this key. The slot in the reply queue that it takes.
    pub fn await_fetch(&mut self, key: u64, fetch: CacheFetchId) -> u32 {
        self.copies.wait(key, fetch.0);
        let suppressed = self.take_suppressed();
        self.replies.push_waiting(suppressed)
    }
}

impl CopyGuard {
    /// Whether it waits for the reply of a read that makes a copy.
    pub fn awaits(&self) -> bool {
        self.awaited > 0
    }

    /// It waits for the reply of a read of this key that was sent at this moment.
    fn wait(&mut self, key: u64, sent: u64) {
        self.awaited += 1;
        if self.awaited_keys.len() < AWAITED_KEYS_MAX {
            self.awaited_keys.push((key, sent));
        } else {
            self.since = self.since.max(sent);
        }
    }

    /// One of those replies has come.
    pub fn settle(&mut self) {
        self.awaited -= 1;
        if self.awaited == 0 {
            self.awaited_keys.clear();
        }
    }

    /// A request names this key; `slot` is its place in the reply queue.
    pub fn open(&mut self, key: u64, slot: u32) {
        self.slot = slot;
        if self.all_open || self.open.contains(&key) {
            return;
        }
        if self.open.len() < OPEN_KEYS_MAX {
            self.open.push(key);
        } else {
            self.open_all(slot);
        }
    }

    /// A request may concern any key.
    pub fn open_all(&mut self, slot: u32) {
        self.slot = slot;
        self.all_open = true;
        self.open.clear();
    }

    /// From the next request on the client speaks another version, in which there are other copies. Where it has read nothing
    /// yet, as when it greets, any copy is news to it.
    pub fn change_version(&mut self, slot: u32) {
        if std::mem::take(&mut self.has_read) {
            self.open_all(slot);
        }
    }

    /// Whether a read of this key may be served from a copy or make one, which closes the key. No copy has been read after
    /// `moment`.
    pub fn close(&mut self, key: u64, replies: &ReplyQueue, moment: u64) -> Option<Closed> {
        let place = self.open.iter().position(|open| *open == key);
        if place.is_none() && !self.all_open {
            self.has_read = true;
            return Some(Closed { since: self.since_of(key), drops_key: false });
        }
        if !replies.has_settled(self.slot) {
            return None;
        }
        if std::mem::take(&mut self.all_open) {
            self.since = moment + 1;
        } else if let Some(place) = place {
            self.open.swap_remove(place);
        }
        self.has_read = true;
        Some(Closed { since: self.since_of(key), drops_key: place.is_some() })
    }

    fn since_of(&self, key: u64) -> u64 {
        let awaited = self.awaited_keys.iter().filter(|(awaited, _)| *awaited == key).map(|(_, sent)| *sent);
        awaited.max().unwrap_or(0).max(self.since)
    }
}
