//! The seeds of the tests that play many histories: all of them, or the one that the README's variable names.

use std::ops::Range;

/// As many seeds, from 0 on, or the one of `HOTGATE_SEED`.
pub fn seeds(count: u64) -> Range<u64> {
    match std::env::var("HOTGATE_SEED") {
        Ok(text) => {
            let seed: u64 = text.parse().expect("HOTGATE_SEED must be a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    }
}
