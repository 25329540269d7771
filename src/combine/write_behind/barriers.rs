//! The barriers past the keys of one home: what each holds, and what it still waits for.
//!
//! A barrier stands in the queues of all its keys at once. It is granted when it has come to the front of each, and holds them all until
//! it ends. One that may touch any key holds those too that come to be meanwhile. Why nobody waits for ever stands in
//! `worker/hot/behind`; the model tests play it with several homes.
//!
//! Owns names and counts. The queues are the keys' own ([`super::WriteBehindKey`]).

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// What has become of a barrier that has come to the front of the queue of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierTurn {
    /// It holds the key, and still waits for others.
    Waits,
    /// It holds all its keys.
    Granted,
    /// It has ended meanwhile: it does not hold the key.
    Ended,
}

#[derive(Debug, Default)]
struct Barrier {
    /// So many keys have yet to be held.
    awaited: usize,
    /// Those that it holds, by hash.
    held: Vec<u64>,
}

/// The barriers past keys of one home, by name.
#[derive(Debug)]
pub struct Barriers<B> {
    all: HashMap<B, Barrier>,
    /// Those that hold keys which are yet to come as well.
    of_any_key: HashSet<B>,
}

impl<B> Default for Barriers<B> {
    fn default() -> Self {
        Self { all: HashMap::new(), of_any_key: HashSet::new() }
    }
}

impl<B: Copy + Eq + Hash> Barriers<B> {
    /// A barrier stands in the queues of so many keys now. True if that is none, so that it is granted.
    #[must_use]
    pub fn begin(&mut self, barrier: B, awaited: usize, any_key: bool) -> bool {
        self.all.insert(barrier, Barrier { awaited, held: Vec::new() });
        if any_key {
            self.of_any_key.insert(barrier);
        }
        awaited == 0
    }

    /// A barrier has come to the front of the queue of a key.
    #[must_use]
    pub fn on_turn(&mut self, barrier: B, hash: u64) -> BarrierTurn {
        let Some(barrier) = self.all.get_mut(&barrier) else { return BarrierTurn::Ended };
        barrier.held.push(hash);
        barrier.awaited -= 1;
        if barrier.awaited == 0 { BarrierTurn::Granted } else { BarrierTurn::Waits }
    }

    /// A key comes to be. Says how many barriers hold it from the first.
    pub fn hold_new_key(&mut self, hash: u64) -> usize {
        for barrier in &self.of_any_key {
            if let Some(barrier) = self.all.get_mut(barrier) {
                barrier.held.push(hash);
            }
        }
        self.of_any_key.len()
    }

    /// A barrier ends, whether it was granted or not. Gives the keys that it held, by hash.
    pub fn end(&mut self, barrier: B) -> Vec<u64> {
        self.of_any_key.remove(&barrier);
        self.all.remove(&barrier).map_or_else(Vec::new, |barrier| barrier.held)
    }
}
