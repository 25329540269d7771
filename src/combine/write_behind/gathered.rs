//! Deltas that no flush has taken yet.

/// Their sum and number, and since when the oldest waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathered {
    pub sum: i64,
    pub count: usize,
    /// Without meaning while there are none.
    pub oldest_ns: u64,
}

impl Gathered {
    /// One more. False, and not taken, if the sum would pass the end of 64 bits.
    #[must_use]
    pub fn add(&mut self, delta: i64, now_ns: u64) -> bool {
        let Some(sum) = self.sum.checked_add(delta) else { return false };
        if self.count == 0 {
            self.oldest_ns = now_ns;
        }
        self.sum = sum;
        self.count += 1;
        true
    }

    /// One of them is taken back.
    pub fn retract(&mut self, delta: i64) {
        self.sum = self.sum.wrapping_sub(delta);
        self.count = self.count.saturating_sub(1);
    }

    /// The deltas of a flush that has surely not taken effect come back, before all that came since.
    pub fn take_back(&mut self, flight: Gathered) {
        // The two were one sum of 64 bits when the last of them was answered, or are again when a retraction is done.
        self.sum = self.sum.wrapping_add(flight.sum);
        self.count += flight.count;
        self.oldest_ns = flight.oldest_ns;
    }
}
