//! What one worker hands over at the end of a slice.
//!
//! Plain data: the detector fills it, the merger adds it up.

use super::connections::Connections;
use super::key::KeyName;

/// The counts of one worker between two calls of [`Detector::take_slice`](super::Detector::take_slice).
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// Length of the slice in nanoseconds.
    pub duration_ns: u64,
    /// Everything the worker saw, tracked or not.
    pub totals: SliceTotals,
    /// The tracked keys that matter, in no order. Left out are keys without an access in this slice and those
    /// that are, for all that is known of them, under the share from which keys are surely tracked.
    pub rows: Vec<SliceRow>,
}

/// Counts of one key in one slice.
#[derive(Clone, Debug)]
pub struct SliceRow {
    /// Which key.
    pub key: KeyName,
    /// Accesses that only read.
    pub reads: u32,
    /// Accesses that write, counters included.
    pub writes: u32,
    /// Accesses of the INCR family.
    pub counters: u32,
    /// Bytes of requests.
    pub bytes_in: u32,
    /// Bytes of replies that arrived in this slice.
    pub bytes_out: u32,
    /// Accesses of this slice that may be missing above, because the key was not tracked yet. Zero unless the
    /// key was admitted in this slice.
    pub uncounted_max: u32,
    /// Which connections, roughly.
    pub connections: Connections,
}

/// Counts of all keys of one worker, and figures of its detector, in one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliceTotals {
    /// Accesses, including the ones that sampling left out.
    pub ops: u64,
    /// How many of them write.
    pub writes: u64,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of replies to recorded accesses.
    pub bytes_out: u64,
    /// Keys that began to be tracked.
    pub admitted: u64,
    /// Keys that made way for them.
    pub evicted: u64,
}
