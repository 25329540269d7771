//! The last minute of a hot key, one point a second, for sparklines.
//!
//! Owns the points. Deliberately not part of any decision: whether a key is hot follows from its window.

use std::collections::VecDeque;
use std::sync::Arc;

/// Points that are kept, one per second.
pub const HISTORY_POINTS: usize = 60;

/// Accesses per second of one key. Created when the key becomes hot, gone when it cools.
pub(super) struct History {
    points: VecDeque<u32>,
    /// The second that `count` belongs to, in whole seconds of the caller's clock.
    second: u64,
    count: u64,
    published: Arc<[u32]>,
}

impl History {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            points: VecDeque::with_capacity(HISTORY_POINTS),
            second: now_ms / 1000,
            count: 0,
            published: Arc::default(),
        }
    }

    /// Adds the accesses of the step that ended at `now_ms`. They belong to the second in which it ended.
    pub(super) fn add(&mut self, now_ms: u64, ops: u64) {
        let second = now_ms / 1000;
        if second > self.second {
            self.push(u32::try_from(self.count).unwrap_or(u32::MAX));
            let silent = (second - self.second - 1).min(HISTORY_POINTS as u64);
            (0..silent).for_each(|_| self.push(0));
            self.published = self.points.iter().copied().collect();
            self.second = second;
            self.count = 0;
        }
        self.count += ops;
    }

    /// The points of whole seconds, oldest first.
    pub(super) fn points(&self) -> Arc<[u32]> {
        Arc::clone(&self.published)
    }

    fn push(&mut self, point: u32) {
        if self.points.len() == HISTORY_POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_one_second_and_silence_is_zero() {
        let mut history = History::new(900);
        history.add(900, 5);
        history.add(1_000, 1);
        history.add(1_900, 2);
        assert_eq!(*history.points(), [5]);
        history.add(4_100, 7);
        assert_eq!(*history.points(), [5, 3, 0, 0]);
    }

    #[test]
    fn history_is_bounded() {
        let mut history = History::new(0);
        (0..200).for_each(|second| history.add(second * 1_000, second));
        assert_eq!(history.points().len(), HISTORY_POINTS);
        assert_eq!(history.points().last(), Some(&198));
        history.add(u64::MAX, 1);
        assert_eq!(history.points().iter().sum::<u32>(), 0);
    }
}
