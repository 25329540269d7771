//! Whether a client's socket takes anything.
//!
//! A client that takes nothing for `limits.output_stall_timeout` is closed; one that takes a little now and then is not,
//! however much waits for it. Time counts only between tries to write, each of which adds a bounded piece of it, so that a stop
//! of the whole process is not held against anybody.

use std::time::Duration;

/// A try at least this often: the kernel reports late that a slow reader has taken something.
const TRY_NS_MAX: u64 = 1_000_000_000;

/// How long a client has taken nothing.
#[derive(Debug, Default)]
pub struct Stall {
    /// When something was offered last, by the worker's clock in nanoseconds, if anything waits.
    tried_ns: Option<u64>,
    /// Time over which nothing was taken.
    silent_ns: u64,
}

impl Stall {
    /// Nothing waits.
    #[inline]
    pub fn nothing_waits(&mut self) {
        self.tried_ns = None;
    }

    /// How long nothing was taken of what waits, in nanoseconds.
    pub fn silent_ns(&self) -> u64 {
        if self.waits() { self.silent_ns } else { 0 }
    }

    /// Whether something waits that was offered before.
    #[inline]
    pub fn waits(&self) -> bool {
        self.tried_ns.is_some()
    }

    /// Something waits still after a try, which has `taken` something or not.
    pub fn tried(&mut self, now_ns: u64, taken: bool, timeout: Duration) {
        self.silent_ns = match self.tried_ns.replace(now_ns).filter(|_| !taken) {
            Some(tried_ns) => {
                let passed_ns = now_ns.saturating_sub(tried_ns).min(2 * between_tries_ns(timeout));
                self.silent_ns + passed_ns
            }
            None => 0,
        };
    }

    /// Whether it is time to try again though the kernel has said nothing.
    pub fn is_due(&self, now_ns: u64, timeout: Duration) -> bool {
        self.tried_ns.is_some_and(|tried_ns| now_ns.saturating_sub(tried_ns) >= between_tries_ns(timeout))
    }

    /// Whether nothing was taken for so long, and something waits.
    pub fn is_over(&self, timeout: Duration) -> bool {
        self.waits() && u128::from(self.silent_ns) >= timeout.as_nanos()
    }
}

fn between_tries_ns(timeout: Duration) -> u64 {
    TRY_NS_MAX.min((timeout / 4).as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn only_time_that_was_tried_counts() {
        let timeout = Duration::from_secs(10);
        let mut stall = Stall::default();
        assert!(!stall.is_due(100 * SECOND_NS, timeout) && !stall.is_over(timeout));
        stall.tried(100 * SECOND_NS, true, timeout);
        assert!(!stall.is_due(100 * SECOND_NS, timeout) && stall.is_due(101 * SECOND_NS, timeout));
        (101..110).for_each(|second| stall.tried(second * SECOND_NS, false, timeout));
        assert!(!stall.is_over(timeout));
        stall.tried(110 * SECOND_NS, false, timeout);
        assert!(stall.is_over(timeout));
        // A byte ends it.
        stall.tried(111 * SECOND_NS, true, timeout);
        assert!(!stall.is_over(timeout));
        // A stop of an hour counts as little as one pause between tries.
        stall.tried(4000 * SECOND_NS, false, timeout);
        assert!(!stall.is_over(timeout));
        stall.nothing_waits();
        stall.tried(8000 * SECOND_NS, false, timeout);
        assert!(!stall.is_over(timeout) && !stall.is_due(8000 * SECOND_NS, timeout));
    }
}
