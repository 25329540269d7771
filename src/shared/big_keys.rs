//! Keys that showed themselves big: by a request or a reply of theirs, or by the elements in a reply.
//!
//! Part of [`super::tallies`], and published with it. A worker knows a few of them by name: where the table is full, the one that was not
//! seen for longest gives way. How often something big was seen is counted by cluster, and only grows.

use std::sync::Arc;

use super::command_tallies::CommandRow;
use crate::route::{ClusterId, KeyId};

/// Keys that one worker knows: enough to look through, and little to copy.
pub const BIG_KEYS_MAX: usize = 128;

/// What is kept of a name, in bytes.
pub const NAME_BYTES_MAX: usize = 512;

/// A key that showed itself big. Sizes are the largest that were seen; 0 where none was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigKey {
    /// Which key.
    pub id: KeyId,
    /// The beginning of its name.
    pub name: Arc<[u8]>,
    /// The command that showed it last.
    pub command: CommandRow,
    /// Bytes of a request that wrote to it.
    pub request_bytes: u64,
    /// Bytes of a reply of it.
    pub reply_bytes: u64,
    /// Elements in a reply of it, all of which it held.
    pub elements: u64,
    /// How often it was seen since it is in the table.
    pub seen: u64,
    /// When first, in milliseconds of the Unix clock.
    pub first_ms: u64,
    /// When last.
    pub last_ms: u64,
}

impl BigKey {
    /// Adds what was seen of it at another time, or by another worker.
    fn add(&mut self, other: &Self) {
        if other.last_ms >= self.last_ms {
            (self.command, self.last_ms) = (other.command, other.last_ms);
        }
        self.first_ms = self.first_ms.min(other.first_ms);
        self.request_bytes = self.request_bytes.max(other.request_bytes);
        self.reply_bytes = self.reply_bytes.max(other.reply_bytes);
        self.elements = self.elements.max(other.elements);
        self.seen += other.seen;
    }
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct BigKeys {
    rows: Vec<BigKey>,
    /// By cluster, how often a key showed itself big.
    seen: Vec<u64>,
}

impl BigKeys {
    /// A key has shown itself big.
    pub fn note(&mut self, key: BigKey) {
        let cluster = key.id.cluster.position();
        if self.seen.len() <= cluster {
            self.seen.resize(cluster + 1, 0);
        }
        self.seen[cluster] += key.seen;
        self.keep(key);
        if self.rows.len() > BIG_KEYS_MAX
            && let Some(oldest) = (0..self.rows.len()).min_by_key(|row| self.rows[*row].last_ms)
        {
            self.rows.swap_remove(oldest);
        }
    }

    fn keep(&mut self, key: BigKey) {
        match self.rows.iter_mut().find(|known| known.id == key.id) {
            Some(known) => known.add(&key),
            None => self.rows.push(key),
        }
    }

    /// The keys.
    pub fn rows(&self) -> &[BigKey] {
        &self.rows
    }

    /// How often keys of a cluster showed themselves big.
    pub fn seen_in(&self, cluster: ClusterId) -> u64 {
        self.seen.get(cluster.position()).copied().unwrap_or_default()
    }

    /// Adds what another worker has seen: there may be as many keys as all of them know.
    pub fn add(&mut self, other: &Self) {
        other.rows.iter().for_each(|key| self.keep(key.clone()));
        if self.seen.len() < other.seen.len() {
            self.seen.resize(other.seen.len(), 0);
        }
        self.seen.iter_mut().zip(&other.seen).for_each(|(mine, theirs)| *mine += theirs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hash: u64, last_ms: u64) -> BigKey {
        BigKey {
            id: KeyId { cluster: ClusterId(1), hash },
            name: Arc::from(&b"k"[..]),
            command: CommandRow::UNKNOWN,
            request_bytes: 0,
            reply_bytes: 10 * last_ms,
            elements: 0,
            seen: 1,
            first_ms: last_ms,
            last_ms,
        }
    }

    #[test]
    fn the_one_that_was_not_seen_for_longest_gives_way() {
        let mut keys = BigKeys::default();
        (0..BIG_KEYS_MAX as u64).for_each(|number| keys.note(key(number, 100 + number)));
        keys.note(key(0, 1_000));
        keys.note(key(999, 1_001));
        assert_eq!(keys.rows().len(), BIG_KEYS_MAX);
        let known = |hash| keys.rows().iter().find(|row| row.id.hash == hash);
        assert_eq!(known(1), None);
        assert!(known(999).is_some());
        let first = known(0).expect("it was seen again");
        assert_eq!((first.seen, first.first_ms, first.last_ms, first.reply_bytes), (2, 100, 1_000, 10_000));
        assert_eq!((keys.seen_in(ClusterId(1)), keys.seen_in(ClusterId(0))), (BIG_KEYS_MAX as u64 + 2, 0));
        let mut both = BigKeys::default();
        both.add(&keys);
        both.add(&keys);
        assert_eq!(
            (both.rows().len(), both.seen_in(ClusterId(1))),
            (BIG_KEYS_MAX, 2 * BIG_KEYS_MAX as u64 + 4)
        );
    }
}
