//! Crowds: keys with so many operations outstanding at a node where a queue stands that they may fold although detection has not
//! called them hot. Detection needs two of its steps for that, 200 ms, and by then a key that leaps up has its backlog.
//!
//! What is outstanding on a connection is known without counting: it is what was written and not answered. So nothing is paid
//! per request. Only where a queue stands, the oldest requests are looked at, and seldom if that shows nothing.
//!
//! To be in a crowd is to be eligible and no more. Which of the eligible keys fold is decided as for those of the hot set
//! ([`super::heaviest`]).

use std::collections::HashMap;
use std::hash::Hash;

use super::gauge::WINDOW_NS;

/// So many operations of one key on one connection make a crowd. A flush in their place is 1.5 % of them.
pub const CROWD_MIN: u32 = 64;

/// The oldest requests of a connection that are looked at, about 0.1 ms of work. A key that has no crowd among these brings less
/// than a sixteenth of what the node has before it.
pub const LOOKED_AT_MAX: usize = 1024;

/// After a look that showed nothing, the next is so many times later than the window asks for: looking then takes less than a
/// hundredth of the worker.
const FRUITLESS_WINDOWS: u64 = 4;

/// The keys that have a crowd among these, one item for each request. Which comes first is left open.
pub fn crowds<K: Copy + Eq + Hash>(requests: impl Iterator<Item = K>) -> Vec<K> {
    let mut outstanding: HashMap<K, u32, ahash::RandomState> = HashMap::default();
    for key in requests.take(LOOKED_AT_MAX) {
        *outstanding.entry(key).or_default() += 1;
    }
    outstanding.into_iter().filter(|(_, count)| *count >= CROWD_MIN).map(|(key, _)| key).collect()
}

/// When a node's connections are looked at for crowds.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrowdLooks {
    not_before_ns: u64,
}

impl CrowdLooks {
    /// Whether it is time for a look, while a queue stands.
    pub fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.not_before_ns
    }

    /// There was a look.
    pub fn on_look(&mut self, now_ns: u64, is_fruitless: bool) {
        self.not_before_ns = now_ns + if is_fruitless { FRUITLESS_WINDOWS * WINDOW_NS } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_counted_among_the_oldest() {
        let check = |counts: &[(usize, u32)], expect: &[usize]| {
            let requests = counts.iter().flat_map(|(key, count)| std::iter::repeat_n(*key, *count as usize));
            let mut found = crowds(requests);
            found.sort_unstable();
            assert_eq!(found, expect, "{counts:?}");
        };
        check(&[], &[]);
        check(&[(1, CROWD_MIN - 1), (2, 1)], &[]);
        check(&[(1, CROWD_MIN - 1), (2, CROWD_MIN), (1, 1)], &[1, 2]);
        check(&[(1, LOOKED_AT_MAX as u32 - CROWD_MIN + 1), (2, 1000)], &[1]);
    }

    #[test]
    fn looks_that_show_nothing_are_seldom() {
        let mut looks = CrowdLooks::default();
        assert!(looks.is_due(0));
        looks.on_look(7, false);
        assert!(looks.is_due(7));
        looks.on_look(7, true);
        assert!(!looks.is_due(7 + WINDOW_NS) && looks.is_due(7 + FRUITLESS_WINDOWS * WINDOW_NS));
    }
}
