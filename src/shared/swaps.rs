//! How often databases were swapped (`SWAPDB`), of which Redis tells no one who tracks keys: by clients of this gateway, or, as the
//! probes hear a second later, by anybody.
//!
//! A worker that hears of it has no copies any more, and neither have the others within a tenth of a second: each looks ten times a
//! second. Never read or written for an ordinary request.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts swaps.
#[derive(Debug, Default)]
pub struct DatabaseSwaps(AtomicU64);

impl DatabaseSwaps {
    /// Databases were swapped, or may have been.
    pub fn note(&self) {
        // Nothing else is read because of it, so no order is needed.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was so.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
