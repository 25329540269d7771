//! The buckets of distributions that are counted by powers of two, as `/metrics` shows them.

use crate::shared::histogram::Octaves;

/// Octaves shown: up to 2^24 µs, 17 s, and up to 2^24 operations, 17 million. What is beyond is in `+Inf`.
const OCTAVES_SHOWN: usize = 25;

/// The buckets of a distribution, with bounds of so many to the unit.
pub fn octaves(octaves: &Octaves, per_unit: f64) -> impl Iterator<Item = (f64, u64)> + '_ {
    octaves.cumulative().take(OCTAVES_SHOWN).map(move |(bound, count)| (bound as f64 / per_unit, count))
}
