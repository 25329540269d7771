//! A distribution of times for what there are many of, such as commands: four buckets for each power of two, in under a kilobyte.
//!
//! A quantile is at most a quarter above the truth. Bounds of whole powers of two are those at which Redis's `LATENCY HISTOGRAM`
//! tells how many calls took no longer. Only ever grows, as the others in [`super::histogram`].

/// The first bucket has all times up to 2^10 ns, which is where Redis begins.
const FIRST_BITS: u32 = 10;
/// Longer times than 2^36 ns, 69 s, are in the last bucket. That is above every deadline that the configuration accepts.
const LAST_BITS: u32 = 36;
/// Buckets for each power of two.
const PARTS: usize = 4;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
const BUCKETS: usize = 1 + (LAST_BITS - FIRST_BITS) as usize * PARTS;

/// A distribution of times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarters {
    counts: [u64; BUCKETS],
    sum_ns: u64,
}

impl Default for Quarters {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_ns: 0 }
    }
}

impl Quarters {
    /// Counts `n` events that took `ns` each.
    pub fn record_n(&mut self, ns: u64, n: u64) {
        self.counts[bucket_of(ns)] += n;
        self.sum_ns = self.sum_ns.wrapping_add(ns.wrapping_mul(n));
    }

    /// The number of events.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all times in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The upper bound of the bucket in which the share `quantile` (0 to 1) of the events is reached, in nanoseconds; 0 without
    /// events.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        let count = self.count();
        if count == 0 {
            return 0;
        }
        let wanted = (count as f64 * quantile).ceil().max(1.0) as u64;
        let mut running = 0;
        let reached = self.counts.iter().position(|count| {
            running += count;
            running >= wanted
        });
        bound_ns(reached.unwrap_or(BUCKETS - 1))
    }

    /// `(power of two in nanoseconds, how many took at most that)`, ascending.
    pub fn octaves(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut running = 0;
        self.counts.iter().enumerate().filter_map(move |(bucket, count)| {
            running += count;
            bucket.is_multiple_of(PARTS).then_some((bound_ns(bucket), running))
        })
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }

    /// What was counted since `earlier`, an earlier snapshot of the same distribution.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = self.clone();
        for (mine, theirs) in delta.counts.iter_mut().zip(earlier.counts) {
            *mine = mine.saturating_sub(theirs);
        }
        delta.sum_ns = self.sum_ns.wrapping_sub(earlier.sum_ns);
        delta
    }
}

/// The bucket of a time: a power of two counts as the last of those below it.
fn bucket_of(ns: u64) -> usize {
    let below = ns.saturating_sub(1).max((1 << FIRST_BITS) - 1);
    let bits = below.ilog2();
    if bits < FIRST_BITS {
        return 0;
    }
    let part = (below >> (bits - PARTS_BITS)) as usize % PARTS;
    (1 + (bits - FIRST_BITS) as usize * PARTS + part).min(BUCKETS - 1)
}

/// The longest time of a bucket.
fn bound_ns(bucket: usize) -> u64 {
    let Some(beyond) = bucket.checked_sub(1) else { return 1 << FIRST_BITS };
    let (octave, part) = (beyond / PARTS, beyond % PARTS);
    let whole = 1u64 << (FIRST_BITS as usize + octave);
    whole + whole / PARTS as u64 * (part as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        for (ns, bound) in [
            (0, 1024),
            (1024, 1024),
            (1025, 1280),
            (1280, 1280),
            (1281, 1536),
            (2048, 2048),
            (2049, 2560),
            (1_000_000, 1_048_576),
            (1 << 36, 1 << 36),
            (u64::MAX, 1 << 36),
        ] {
            let mut times = Quarters::default();
            times.record_n(ns, 3);
            assert_eq!(times.quantile_ns(0.5), bound, "{ns}");
            assert_eq!(times.count(), 3);
        }
        assert_eq!(Quarters::default().quantile_ns(0.99), 0);
    }

    #[test]
    fn quantiles_are_at_most_a_quarter_too_high() {
        let mut times = Quarters::default();
        (1..=10_000u64).for_each(|us| times.record_n(us * 1_000, 1));
        for (quantile, truth_ns) in [(0.5, 5_000_000.0), (0.99, 9_900_000.0), (1.0, 10_000_000.0)] {
            let told = times.quantile_ns(quantile) as f64 / truth_ns;
            assert!((1.0..=1.25).contains(&told), "p{quantile}: {told} of the truth");
        }
    }

    #[test]
    fn octaves_are_cumulative_and_a_window_is_a_difference() {
        let mut times = Quarters::default();
        times.record_n(500, 1);
        let earlier = times.clone();
        times.record_n(1_500, 2);
        times.record_n(4_000, 4);
        let octaves: Vec<_> = times.octaves().take(4).collect();
        assert_eq!(octaves, [(1024, 1), (2048, 3), (4096, 7), (8192, 7)]);
        assert_eq!(times.octaves().last(), Some((1 << 36, 7)));
        let window = times.since(&earlier);
        assert_eq!((window.count(), window.sum_ns()), (6, 19_000));
        let mut both = earlier.clone();
        both.merge(&window);
        assert_eq!(both, times);
    }
}
