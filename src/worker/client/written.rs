//! Counters under a quota that a client has changed beside their queues: who set or removed one is not told what was known
//! before.
//!
//! Such a command goes the ordinary way, so the home of the key sees neither it nor its reply. The client's next increment of
//! the key is combined only when the command has been answered, and carries the news to the home: from there on the home asks
//! Redis, until a report from after it. Other clients see the change with that report, or with the next recheck.

use smallvec::SmallVec;

/// Keys that are remembered for one client: a command that fills a few shelves at once names no more. At the bound the oldest is
/// forgotten, and the client sees that change with the next recheck, as others do.
const WRITTEN_KEYS_MAX: usize = 64;

/// The hashes of the keys that one client has changed and not counted under since.
#[derive(Debug, Default)]
pub struct WrittenKeys(SmallVec<[u64; 2]>);

impl WrittenKeys {
    /// The client changes this key.
    pub fn note(&mut self, hash: u64) {
        if self.0.contains(&hash) {
            return;
        }
        if self.0.len() >= WRITTEN_KEYS_MAX {
            self.0.remove(0);
        }
        self.0.push(hash);
    }

    /// Whether the client has changed this key since it last asked.
    pub fn take(&mut self, hash: u64) -> bool {
        let place = self.0.iter().position(|written| *written == hash);
        place.map(|place| self.0.remove(place)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_and_the_oldest_are_forgotten() {
        let mut written = WrittenKeys::default();
        (0..=WRITTEN_KEYS_MAX as u64).for_each(|hash| written.note(hash));
        written.note(1);
        assert_eq!([0, 1, 1, 64, 64].map(|hash| written.take(hash)), [false, true, false, true, false]);
    }
}
