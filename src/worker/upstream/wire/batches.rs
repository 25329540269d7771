//! When the requests on a wire began to be written.
//!
//! Requests that began together are one batch, so what is kept is one time for each write that has unanswered requests. Owns these times;
//! requests are numbers here, counted from the first that was ever appended.

use std::collections::VecDeque;

/// The batches of the requests in flight.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// That of the oldest request in flight, as far as it has begun.
    oldest: Batch,
    /// Those after it, oldest first. Each holds a request in flight.
    later: VecDeque<Batch>,
}

/// Requests that began to be written together.
#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    /// The number of the first that did not.
    end: u64,
    /// When they began.
    began_ns: u64,
}

impl Batches {
    /// Everything before the request `end` begins to be written at `now_ns`; `answered` requests have been answered. Of what was begun
    /// before, it went out then.
    pub fn begin(&mut self, end: u64, answered: u64, now_ns: u64) {
        let batch = Batch { end, began_ns: now_ns };
        if self.began_ns(answered).is_none() {
            self.oldest = batch;
        } else if self.later.back().unwrap_or(&self.oldest).end < end {
            self.later.push_back(batch);
        }
    }

    /// When the request of this number, before which all are answered, began to be written; nothing if it has not.
    #[inline]
    pub fn began_ns(&mut self, number: u64) -> Option<u64> {
        while self.oldest.end <= number {
            self.oldest = self.later.pop_front()?;
        }
        Some(self.oldest.began_ns)
    }

    /// Gives back what the most batches have left behind. Nothing is in flight.
    pub fn give_back(&mut self) {
        self.later = VecDeque::new();
    }
}
