//! What can be set about detection, with defaults and the memory they cost.
//!
//! Plain data: reading it from a file and checking it belongs to the configuration.

use super::table;
use crate::limits::WINDOW_SLICES_MAX;

/// Settings of one worker's [`Detector`](super::Detector).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectorConfig {
    /// Keys tracked at a time, 64 to 65,536; other values are moved to the nearest power of two in range.
    ///
    /// A key that makes up more than `1 / (2 * tracked_keys)` of the recent traffic is tracked.
    pub tracked_keys: usize,
    /// One access in this many is recorded and counted this many times over; 1 records every access.
    pub sample_ratio: u32,
}

impl DetectorConfig {
    /// The defaults: 4096 keys, every access.
    ///
    /// The 100th key of Zipf(0.8) over a million keys has a share of 1/2978. 4096 entries track shares from
    /// 1/8192, so that it is tracked with room to spare.
    pub const DEFAULT: Self = Self { tracked_keys: 4096, sample_ratio: 1 };

    /// The most memory, in bytes, that a detector with these settings holds, every tracked key being as long
    /// as a stored key can be, and one slice of evicted keys being on its way to the merger.
    #[must_use]
    pub const fn memory_bytes_max(&self) -> usize {
        table::memory_bytes_max(table::capacity(self.tracked_keys))
    }
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A worker may spend this much on detection at the defaults.
const MEMORY_BYTES_BUDGET: usize = 8 << 20;
const _: () = assert!(DetectorConfig::DEFAULT.memory_bytes_max() <= MEMORY_BYTES_BUDGET);

/// When a key counts as hot: often enough **and** a large enough share of the traffic, or enough bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Accesses per second, over all workers; 0 leaves the decision to `share`.
    pub ops_per_s: f64,
    /// Part of all accesses, 0.0 to 1.0; 0 leaves the decision to `ops_per_s`.
    pub share: f64,
    /// Bytes per second, requests and replies together; a key that reaches it is hot whatever its rate.
    pub bytes_per_s: f64,
}

impl Thresholds {
    /// All of them times `factor`.
    #[must_use]
    pub(super) fn scaled(&self, factor: f64) -> Self {
        Self {
            ops_per_s: self.ops_per_s * factor,
            share: self.share * factor,
            bytes_per_s: self.bytes_per_s * factor,
        }
    }
}

/// Settings of the [`Merger`](super::Merger).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MergerConfig {
    /// Steps in the window, 2 to [`WINDOW_STEPS_MAX`](Self::WINDOW_STEPS_MAX). With a step of 100 ms, 10 make
    /// the window of one second.
    pub window_steps: usize,
    /// The most keys in the hot set. When more qualify, the ones with the highest rate are in it.
    pub top_k: usize,
    /// A key becomes hot when the last two steps reach these, or the last one half again as much.
    pub enter: Thresholds,
    /// A hot key is below the line when the last two steps stay under these; each should be at most its
    /// counterpart in `enter`.
    pub leave: Thresholds,
    /// A hot key cools after being below the line for this many steps in a row.
    pub leave_steps: u32,
    /// The most keys that the merger remembers; the lightest half is forgotten when there would be more.
    pub tracked_keys_max: usize,
}

impl MergerConfig {
    /// The longest window, in steps.
    pub const WINDOW_STEPS_MAX: usize = WINDOW_SLICES_MAX;

    /// The defaults: one second, 128 keys, in at 1,000/s and 1 % (or 32 MiB/s), out at half of that for 1 s.
    pub const DEFAULT: Self = Self {
        window_steps: 10,
        top_k: 128,
        enter: Thresholds { ops_per_s: 1_000.0, share: 0.01, bytes_per_s: 33_554_432.0 },
        leave: Thresholds { ops_per_s: 500.0, share: 0.005, bytes_per_s: 16_777_216.0 },
        leave_steps: 10,
        tracked_keys_max: 8192,
    };
}

impl Default for MergerConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
