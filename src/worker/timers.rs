//! When something is to be looked at again: one heap for everything that a worker has to wait for.
//!
//! Each key has one due time, the soonest that it was armed for. To arm, to disarm and to take what is due costs the
//! logarithm of what is armed, however many keys there are; nothing is searched or walked.
//!
//! Owns nothing but times. It does not know what a key stands for, and has no clock: its owner passes the time in.
//!
//! How: the map holds the one due time of each key. The heap may hold former ones too, which are recognised and dropped when
//! they come to the top; when most of it is former ones it is built anew, so it stays within twice the map.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use ahash::RandomState;

/// Former times that the heap may hold beside as many as there are keys, so that a small one is not built anew all the time.
const FORMER_SPARE: usize = 64;

/// Due times by key.
#[derive(Debug)]
pub struct Timers<K> {
    due: HashMap<K, u64, RandomState>,
    heap: BinaryHeap<Reverse<(u64, K)>>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { due: HashMap::default(), heap: BinaryHeap::new() }
    }
}

impl<K: Copy + Ord + Hash> Timers<K> {
    /// Has a key due at this time, if it is not due sooner. Says whether that is news.
    pub fn arm(&mut self, key: K, due_ns: u64) -> bool {
        if self.due.get(&key).is_some_and(|armed_ns| *armed_ns <= due_ns) {
            return false;
        }
        self.due.insert(key, due_ns);
        self.push(due_ns, key);
        true
    }

    /// Has a key due at this time, and at no other.
    pub fn set(&mut self, key: K, due_ns: u64) {
        if self.due.insert(key, due_ns) != Some(due_ns) {
            self.push(due_ns, key);
        }
    }

    /// The key is not due any more.
    pub fn disarm(&mut self, key: K) {
        self.due.remove(&key);
        self.drop_former();
    }

    /// When the next key is due.
    pub fn next_due_ns(&mut self) -> Option<u64> {
        while let Some(Reverse((due_ns, key))) = self.heap.peek() {
            if self.due.get(key) == Some(due_ns) {
                return Some(*due_ns);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes the key that has been due longest at this time, if one is.
    pub fn take_due(&mut self, now_ns: u64) -> Option<K> {
        self.next_due_ns().filter(|due_ns| *due_ns <= now_ns)?;
        let Reverse((_, key)) = self.heap.pop()?;
        self.due.remove(&key);
        Some(key)
    }

    fn push(&mut self, due_ns: u64, key: K) {
        self.heap.push(Reverse((due_ns, key)));
        self.drop_former();
    }

    fn drop_former(&mut self) {
        if self.heap.len() > 2 * self.due.len() + FORMER_SPARE {
            self.heap = self.due.iter().map(|(key, due_ns)| Reverse((*due_ns, *key))).collect();
            self.due.shrink_to(2 * self.due.len() + FORMER_SPARE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn a_key_is_due_once_at_the_soonest_time() {
        let mut timers = Timers::default();
        assert!(timers.arm('a', 30) && timers.arm('b', 20) && timers.arm('a', 10));
        assert!(!timers.arm('a', 30) && !timers.arm('a', 10));
        assert_eq!((timers.next_due_ns(), timers.take_due(9)), (Some(10), None));
        assert_eq!(
            [timers.take_due(40), timers.take_due(40), timers.take_due(40)],
            [Some('a'), Some('b'), None]
        );
        timers.set('a', 10);
        timers.set('a', 50);
        assert_eq!(timers.next_due_ns(), Some(50));
        timers.disarm('a');
        assert_eq!(timers.next_due_ns(), None);
    }

    #[test]
    fn it_is_what_a_sorted_list_would_be_and_no_larger() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
        for now_ns in 0..20_000_u64 {
            let (key, due_ns) = (random.random_range(0..100_u64), now_ns + random.random_range(0..500));
            match random.random_range(0..8) {
                0 => {
                    timers.disarm(key);
                    model.remove(&key);
                }
                1 => {
                    timers.set(key, due_ns);
                    model.insert(key, due_ns);
                }
                _ => {
                    let sooner = model.get(&key).is_none_or(|armed_ns| *armed_ns > due_ns);
                    assert_eq!(timers.arm(key, due_ns), sooner);
                    if sooner {
                        model.insert(key, due_ns);
                    }
                }
            }
            let expected = model
                .iter()
                .map(|(key, due_ns)| (*due_ns, *key))
                .min()
                .filter(|(due_ns, _)| *due_ns <= now_ns);
            let taken = timers.take_due(now_ns);
            assert_eq!(taken, expected.map(|(_, key)| key));
            taken.map(|key| model.remove(&key));
            assert_eq!(timers.next_due_ns(), model.values().min().copied());
            assert!(timers.heap.len() <= 2 * timers.due.len() + FORMER_SPARE);
        }
    }
}
