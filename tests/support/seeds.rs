//! The seeds of the tests that play many histories: all of them, or the one that the README's variable names.

use std::ops::Range;

/// As many seeds, from 0 on, times what `HOTGATE_SEEDS_TIMES` says; or the one of `HOTGATE_SEED`.
pub fn seeds(count: u64) -> Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} must be a number")))
    };
    match number("HOTGATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count * number("HOTGATE_SEEDS_TIMES").unwrap_or(1),
    }
}
