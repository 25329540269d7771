//! The two histograms of the tallies: a fine one for latency as clients see it, and a coarse one that is
//! cheap enough to keep per node.
//!
//! `Latency` is an HdrHistogram (Gil Tene, <http://hdrhistogram.org>): two significant digits, so that a
//! quantile is at most 1 % off, in about 22 KiB. Recording is an index computation and an increment; copying
//! it costs a few microseconds, which a worker pays ten times a second. `Octaves` has one bucket per power of
//! two in 256 bytes.
//!
//! Both only ever grow. What happened in a window is the difference of two snapshots; nothing is reset, so
//! that a reader that misses a snapshot loses resolution and no counts.

use hdrhistogram::Histogram;

/// The finest difference recorded, in nanoseconds. HdrHistogram keeps two digits from here on.
const LATENCY_NS_MIN: u64 = 256;
/// Longer times are recorded as this: 60 s, which is above every deadline that the configuration accepts.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Two digits: a quantile is at most 1 % off.
const LATENCY_DIGITS: u8 = 2;

/// A distribution of times in nanoseconds, 256 ns to 60 s, two significant digits.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    sum_ns: u64,
}

impl Default for Latency {
    fn default() -> Self {
        match Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, LATENCY_DIGITS) {
            Ok(histogram) => Self { histogram, sum_ns: 0 },
            Err(error) => unreachable!("the bounds are constants that HdrHistogram accepts: {error:?}"),
        }
    }
}

impl Latency {
    /// Counts one event that took `ns`.
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.sum_ns = self.sum_ns.wrapping_add(ns);
    }

    /// Counts `n` events that took `ns` each: what a burst of replies that settle in one tick needs.
    pub fn record_n(&mut self, ns: u64, n: u64) {
        self.histogram.saturating_record_n(ns, n);
        self.sum_ns = self.sum_ns.wrapping_add(ns.wrapping_mul(n));
    }

    /// The number of events.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The sum of all times in nanoseconds, exact (it wraps after 584 years of waiting).
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The time that a share `quantile` (0 to 1) of the events did not exceed, in nanoseconds; 0 without
    /// events.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        if self.histogram.is_empty() { 0 } else { self.histogram.value_at_quantile(quantile) }
    }

    /// How many events took at most each of `bounds_ns`, which must ascend.
    pub fn cumulative(&self, bounds_ns: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; bounds_ns.len()];
        for step in self.histogram.iter_recorded() {
            let place = bounds_ns.partition_point(|bound| *bound < step.value_iterated_to());
            if let Some(count) = counts.get_mut(place) {
                *count += step.count_since_last_iteration();
            }
        }
        let mut running = 0;
        for count in &mut counts {
            running += *count;
            *count = running;
        }
        counts
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &Self) {
        // Both histograms have the same constant bounds, for which HdrHistogram documents that adding cannot
        // fail.
        let merged = self.histogram.add(&other.histogram);
        debug_assert!(merged.is_ok());
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }

    /// What was counted since `earlier`, an earlier snapshot of the same distribution. A snapshot that is not
    /// earlier (a worker that began anew) gives everything.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = self.clone();
        if delta.histogram.subtract(&earlier.histogram).is_err() {
            return self.clone();
        }
        delta.sum_ns = self.sum_ns.wrapping_sub(earlier.sum_ns);
        delta
    }
}

/// A distribution with one bucket per power of two: bucket `i` counts the values `v` with `2^(i-1) < v <=
/// 2^i` (bucket 0: 0 and 1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Octaves {
    counts: [u64; Self::BUCKETS],
    sum: u64,
}

impl Octaves {
    /// 31 buckets reach 2^30: 1,073 s when counting microseconds, a thousand million when counting
    /// operations.
    pub const BUCKETS: usize = 31;

    /// Counts one value; beyond the last bucket, in the last.
    pub fn record(&mut self, value: u64) {
        let bucket = (u64::BITS - value.saturating_sub(1).leading_zeros()) as usize;
        self.counts[bucket.min(Self::BUCKETS - 1)] += 1;
        self.sum = self.sum.wrapping_add(value);
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of the values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// `(upper bound, how many values are at most that)` for every bucket, ascending.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut running = 0;
        self.counts.iter().enumerate().map(move |(bucket, count)| {
            running += count;
            (1u64 << bucket, running)
        })
    }

    /// The upper bound of the bucket in which the share `quantile` (0 to 1) of the values is reached; 0
    /// without values.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let wanted = (self.count() as f64 * quantile).ceil().max(1.0) as u64;
        self.cumulative().find(|(_, running)| *running >= wanted).map_or(0, |(bound, _)| bound)
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// What was counted since `earlier`, an earlier snapshot of the same distribution.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = self.clone();
        for (mine, theirs) in delta.counts.iter_mut().zip(earlier.counts) {
            *mine = mine.saturating_sub(theirs);
        }
        delta.sum = self.sum.wrapping_sub(earlier.sum);
        delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_quantiles_are_within_one_percent() {
        let mut latency = Latency::default();
        for us in 1..=10_000u64 {
            latency.record(us * 1_000);
        }
        for (quantile, expect_ns) in [(0.5, 5_000_000.0), (0.99, 9_900_000.0), (1.0, 10_000_000.0)] {
            let got = latency.quantile_ns(quantile) as f64;
            assert!((got - expect_ns).abs() / expect_ns <= 0.01, "p{quantile}: {got} instead of {expect_ns}");
        }
        assert_eq!(latency.count(), 10_000);
        assert_eq!(latency.sum_ns(), (1..=10_000u64).sum::<u64>() * 1_000);
    }

    #[test]
    fn times_beyond_the_bounds_are_counted_at_the_bound() {
        let mut latency = Latency::default();
        latency.record(0);
        latency.record(u64::MAX / 4);
        assert_eq!(latency.count(), 2);
        assert!(latency.quantile_ns(1.0) >= LATENCY_NS_MAX);
        assert_eq!(latency.cumulative(&[LATENCY_NS_MAX / 2]), [1]);
    }

    #[test]
    fn cumulative_counts_never_descend_and_end_at_the_count() {
        let mut latency = Latency::default();
        for ns in [300, 30_000, 31_000, 2_000_000, 900_000_000] {
            latency.record_n(ns, 2);
        }
        assert_eq!(latency.cumulative(&[1_000, 50_000, 10_000_000, 10_000_000_000]), [2, 6, 8, 10]);
    }

    #[test]
    fn a_window_is_the_difference_of_two_snapshots() {
        let mut latency = Latency::default();
        latency.record(1_000);
        let earlier = latency.clone();
        latency.record(50_000_000);
        let window = latency.since(&earlier);
        assert_eq!((window.count(), window.sum_ns()), (1, 50_000_000));
        assert!(window.quantile_ns(0.0) > 1_000_000);
        assert_eq!(earlier.since(&latency).count(), 1, "a younger snapshot is not subtracted");
    }

    #[test]
    fn octaves_put_each_value_at_or_under_its_bound() {
        for (value, bound) in
            [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1 << 20, 1 << 20), (u64::MAX, 1 << 30)]
        {
            let mut octaves = Octaves::default();
            octaves.record(value);
            assert_eq!(octaves.quantile(0.5), bound, "value {value}");
        }
    }

    #[test]
    fn octaves_merge_and_subtract() {
        let (mut left, mut right) = (Octaves::default(), Octaves::default());
        left.record(7);
        right.record(100);
        let before = left.clone();
        left.merge(&right);
        assert_eq!((left.count(), left.sum()), (2, 107));
        assert_eq!(left.since(&before), right);
    }
}
