//! When the next flush of a key may leave.
//!
//! Normally the next flush leaves when the last one is settled: the round trip is the clock. Flushes wait for the interval only if
//! that brings so many operations that each command folds hundreds of them. With fewer clients nothing waits.
//!
//! Waiting for the whole interval is also wrong in a closed loop, where each client sends its next operation after its last
//! reply: all of them may be waiting long before the interval ends. The number of clients is unknown, but the recent batches
//! show it. So a batch that is nearly as large as the recent ones leaves early. In an open loop, where clients do not wait for
//! replies, a batch gets that large only near the end of the interval, so Redis is spared the flush all the same.
//!
//! Does not know of flushes in flight: the queue keeps at most one.

/// Flushes in a row that may go early. Then one waits for its interval, which shows anew how much that brings: the
/// estimate is some tens of milliseconds old at most, and to make it holds up one flush in so many.
const EARLY_FLUSHES_MAX: u32 = 64;

#[derive(Debug, Default)]
pub(super) struct Pace {
    not_before_ns: u64,
    last_ns: u64,
    /// How many flushes may still go early.
    early_left: u32,
    /// And from which batch on, in operations: seven eighths of what an interval brings.
    early_batch: usize,
}

impl Pace {
    /// Whether so many waiting operations may go now; else the time at which they may, however many they are. A batch
    /// below `early_min` never goes early.
    pub fn check(&self, now_ns: u64, waiting: usize, early_min: usize) -> Result<(), u64> {
        let goes_early = self.early_left > 0 && waiting >= early_min.max(self.early_batch);
        if now_ns >= self.not_before_ns || goes_early { Ok(()) } else { Err(self.not_before_ns) }
    }

    /// Takes note of a flush of so many operations. The next one is due after `interval_ns` if that is going to bring at least
    /// `early_min` operations, else at once.
    pub fn gone(&mut self, now_ns: u64, batch: usize, interval_ns: u64, early_min: usize) {
        let since_ns = u128::from(now_ns.saturating_sub(self.last_ns).max(1));
        let brings = batch as u128 * u128::from(interval_ns) / since_ns;
        let interval_ns = if brings >= early_min as u128 { interval_ns } else { 0 };
        self.last_ns = now_ns;
        if now_ns < self.not_before_ns {
            self.early_left = self.early_left.saturating_sub(1);
        } else {
            // The estimate falls slowly, or small batches would go early for a while after each lull.
            self.early_batch = (batch - batch / 8).max(self.early_batch - self.early_batch / 8);
            self.early_left = EARLY_FLUSHES_MAX;
        }
        self.not_before_ns = now_ns + interval_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL_NS: u64 = 1000;
    const EARLY_MIN: usize = 100;

    /// The least batch that may go now.
    fn least(pace: &Pace, now_ns: u64) -> usize {
        (1..).find(|waiting| pace.check(now_ns, *waiting, EARLY_MIN).is_ok()).unwrap()
    }

    #[test]
    fn flushes_are_spaced_only_where_the_interval_brings_much() {
        let check = |batch, interval_ns, expect| {
            let mut pace = Pace::default();
            assert_eq!(pace.check(INTERVAL_NS, 1, EARLY_MIN), Ok(()), "the first");
            pace.gone(INTERVAL_NS, batch, interval_ns, EARLY_MIN);
            assert_eq!(pace.check(INTERVAL_NS + 1, 1, EARLY_MIN), expect, "{batch} in {interval_ns}");
            assert_eq!(pace.check(2 * INTERVAL_NS, 1, EARLY_MIN), Ok(()), "after the interval");
        };
        check(1, INTERVAL_NS, Ok(()));
        check(EARLY_MIN - 1, INTERVAL_NS, Ok(()));
        check(EARLY_MIN, INTERVAL_NS, Err(2 * INTERVAL_NS));
        check(100 * EARLY_MIN, 0, Ok(()));
    }

    #[test]
    fn a_batch_goes_early_when_it_is_most_of_what_an_interval_brings() {
        let mut pace = Pace::default();
        let check = |pace: &mut Pace, time: u64, brought: usize, expect: usize| {
            let now_ns = time * INTERVAL_NS;
            pace.gone(now_ns, brought, INTERVAL_NS, 1);
            assert_eq!(least(pace, now_ns + 1), expect, "after {brought}");
        };
        check(&mut pace, 1, 1, EARLY_MIN);
        check(&mut pace, 2, 1600, 1400);
        check(&mut pace, 3, 16, 1225);
        check(&mut pace, 4, 1600, 1400);
        for time in 5..30 {
            pace.gone(time * INTERVAL_NS, 1, INTERVAL_NS, 1);
        }
        check(&mut pace, 30, 1, EARLY_MIN);
    }

    #[test]
    fn now_and_then_one_waits_to_measure_anew() {
        let mut pace = Pace::default();
        pace.gone(1, 1600, INTERVAL_NS, 1);
        let in_a_row = (0..1000).take_while(|_| {
            let goes = pace.check(2, 1400, EARLY_MIN).is_ok();
            if goes {
                pace.gone(2, 1400, INTERVAL_NS, 1);
            }
            goes
        });
        assert_eq!(in_a_row.count() as u32, EARLY_FLUSHES_MAX);
        pace.gone(2 + INTERVAL_NS, 1600, INTERVAL_NS, 1);
        assert_eq!(pace.check(3 + INTERVAL_NS, 1400, EARLY_MIN), Ok(()));
    }
}
