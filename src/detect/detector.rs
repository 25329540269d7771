//! Counting of key accesses on the data path of one worker.
//!
//! Owns the counts of the present slice and the table of tracked keys. Deliberately has no clock, no thread and no opinion on what
//! is hot: the caller takes a slice when it is time, and the merger judges.

use super::config::DetectorConfig;
use super::key::KeyName;
use super::sampler::Sampler;
use super::slice::{Slice, SliceTotals};
use super::table::{self, Admission, Table};
use crate::route::KeyId;

/// The decay of an access's weight per slice: after eight slices about a third is left.
const DECAY: f32 = 0.875;
/// The scale of forward decay is brought back to 1 above this: every 20 s at 100 ms a slice. The 24 bits of
/// an `f32` hold weights up to 16 million accesses of the current slice at any scale.
const SCALE_MAX: f32 = (1_u64 << 40) as f32;
/// Bytes that weigh as much as one access, so that a big value fetched seldom is tracked too.
const BYTES_PER_WEIGHT_SHIFT: u32 = 12;
/// The admission threshold follows the traffic every so many accesses, and at the end of each slice.
const REFRESH_OPS: u64 = 4096;
/// In [`EntryHandle`]: the index is one of a filter cell.
const CELL_FLAG: u32 = 1 << 31;

/// One use of a key, as the worker knows it before the reply.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The command writes.
    pub write: bool,
    /// The command is of the INCR family; implies `write`.
    pub counter: bool,
    /// Bytes of the request, or the key's part of it.
    pub bytes_in: u32,
    /// Which client connection; any number that is its own for as long as it lives.
    pub client: u64,
}

/// Where the bytes of the reply belong. Plain data that may be kept for as long as the reply takes: one whose
/// key is no longer tracked is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHandle {
    index: u32,
    generation: u32,
}

/// Heavy hitters of one worker, over a window that decays.
///
/// Created and owned by a worker; no other thread touches it. Its end is the worker's.
///
/// The structure is Filtered Space-Saving (Homem and Carvalho, "Finding top-k elements in data streams",
/// Information Sciences 180, 2010), which puts a small array of counters before the counters of Space-Saving
/// (Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data streams",
/// ICDT 2005), over forward-decayed weights (Cormode, Shkapenyuk, Srivastava and Xu, "Forward decay: a
/// practical time decay model for streaming systems", ICDE 2009). An access weighs one, plus one for every
/// 4 KiB it moves. Two departures:
/// - entries are found and replaced within buckets of eight, so that admission costs one bucket and no heap;
/// - a key is admitted when its filter cell holds `1 / (2 * capacity)` of all recent weight, not as soon as it
///   is above the minimum. Under uniform traffic, or under a flood of keys that are used once, cells hold a
///   quarter of that on average, and next to nothing is admitted: the miss stays cheap and the hot keys stay.
///
/// Invariant: at any time, a key's decayed weight is at most its entry's `weight` and at least
/// `weight - error` if it is tracked, and at most its cell's sum if not. (A cell is raised by every access of
/// its untracked keys, and to the weight of every key of its own that is evicted; a key is admitted with its
/// cell's sum.) So, whatever the order of the accesses, a key that is heavier than the admission threshold is
/// tracked from its next access on, unless its bucket holds eight heavier ones.
///
/// Counts in slices are exact from admission on and zero before, so they never overstate a key.
pub struct Detector {
    table: Table,
    ignore: Ignore,
    sampler: Sampler,
    /// The weight of one access now.
    scale: f32,
    /// `scale` times the sample ratio: what one recorded access adds.
    unit: f32,
    /// A cell that has reached this asks for admission.
    admit_weight: f32,
    /// Decayed weight of everything recorded, without `pending_units`.
    total_weight: f64,
    pending_units: u64,
    totals: SliceTotals,
    slice_start_ns: u64,
}

/// Says which keys are never tracked. Asked once when a key would be admitted.
pub type Ignore = Box<dyn Fn(&[u8]) -> bool + Send>;

impl Detector {
    /// A detector that starts its first slice at `now_ns` and never tracks keys for which `ignore` is true.
    #[must_use]
    pub fn new(config: DetectorConfig, ignore: Ignore, now_ns: u64) -> Self {
        let mut detector = Self {
            table: Table::new(table::capacity(config.tracked_keys)),
            ignore,
            sampler: Sampler::new(),
            scale: 1.0,
            unit: 1.0,
            admit_weight: 0.0,
            total_weight: 0.0,
            pending_units: 0,
            totals: SliceTotals::default(),
            slice_start_ns: now_ns,
        };
        detector.set_sample_ratio(config.sample_ratio);
        detector
    }

    /// Counts an access. `id` names `key`, by the same hasher for every call on this detector.
    ///
    /// Gives where to book the reply, or None if its size is of no interest.
    #[inline]
    pub fn record(&mut self, key: &[u8], id: KeyId, access: Access) -> Option<EntryHandle> {
        self.record_many(key, id, access, 1)
    }

    /// As [`Self::record`], for so many equal accesses in a row.
    #[inline]
    pub fn record_many(&mut self, key: &[u8], id: KeyId, access: Access, times: u32) -> Option<EntryHandle> {
        let hash = id.hash;
        let ops = self.totals.ops + u64::from(times);
        let refresh = ops / REFRESH_OPS != self.totals.ops / REFRESH_OPS;
        self.totals.ops = ops;
        self.totals.writes += if access.write { u64::from(times) } else { 0 };
        self.totals.bytes_in += u64::from(access.bytes_in) * u64::from(times);
        if refresh {
            self.refresh_admit_weight();
        }
        let taken = self.sampler.take(hash, times);
        if taken == 0 {
            return None;
        }
        let units = 1 + (access.bytes_in >> BYTES_PER_WEIGHT_SHIFT);
        let weight = self.weigh(units.saturating_mul(taken));
        let index = match self.table.index_of(hash) {
            Some(index) => index,
            None => {
                let cell = self.table.cell_of(hash);
                let sum = self.table.add_to_cell(cell, weight);
                if sum < self.admit_weight {
                    return Some(EntryHandle::cell(cell));
                }
                match self.admit(key, id, sum, weight) {
                    Some(index) => index,
                    None => return Some(EntryHandle::cell(cell)),
                }
            }
        };
        self.count(index, weight, access, taken)
    }

    /// Counts the reply to a recorded access. `bytes_out` is its size in bytes.
    #[inline]
    pub fn record_reply(&mut self, handle: EntryHandle, bytes_out: u32) {
        self.totals.bytes_out += u64::from(bytes_out);
        let units = bytes_out >> BYTES_PER_WEIGHT_SHIFT;
        if handle.index & CELL_FLAG != 0 {
            if units != 0 {
                let weight = self.weigh(units);
                self.table.add_to_cell((handle.index & !CELL_FLAG) as usize, weight);
            }
            return;
        }
        let weight = if units == 0 { 0.0 } else { self.weigh(units) };
        let bytes_out = bytes_out.saturating_mul(self.sampler.ratio);
        match self.table.entry_mut(handle.index as usize) {
            Some(entry) if entry.generation() == handle.generation => {
                entry.add_weight(weight);
                entry.bytes_out = entry.bytes_out.saturating_add(bytes_out);
            }
            _ => {}
        }
    }

    /// Ends the slice at `now_ns` and begins the next.
    ///
    /// Reads each tracked entry once, at most 256 KiB at the defaults, and allocates for the rows that it
    /// hands over; the filter is not touched but for once in 20 s.
    #[must_use = "the counts are in the slice and nowhere else"]
    pub fn take_slice(&mut self, now_ns: u64) -> Slice {
        self.settle_weight();
        let row_weight_min = self.total_weight / (2 * self.table.capacity()) as f64;
        let rows = self.table.take_rows(row_weight_min as f32, self.scale);
        let duration_ns = now_ns.saturating_sub(self.slice_start_ns);
        self.slice_start_ns = now_ns;
        self.advance_scale();
        Slice { duration_ns, totals: std::mem::take(&mut self.totals), rows }
    }

    /// Records one access in `ratio` from now on, counted `ratio` times; 0 is taken for 1. Which one of each
    /// `ratio` is chosen at random, so that rates remain unbiased. Totals go on to include every access;
    /// connections are those of the recorded ones.
    pub fn set_sample_ratio(&mut self, ratio: u32) {
        self.settle_weight();
        self.sampler.ratio = ratio.max(1);
        self.unit = self.scale * self.sampler.ratio as f32;
        self.refresh_admit_weight();
    }

    /// Whether a key is never tracked.
    #[must_use]
    pub fn ignores(&self, key: &[u8]) -> bool {
        (self.ignore)(key)
    }

    /// Replaces the predicate for keys that are never tracked. Tracked keys are forgotten, since the new one
    /// may judge them differently; the heavy ones are back after one access.
    pub fn set_ignore(&mut self, ignore: Ignore) {
        self.ignore = ignore;
        self.table.clear();
    }

    /// How many keys are tracked now.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.table.occupied()
    }

    #[inline]
    fn weigh(&mut self, units: u32) -> f32 {
        self.pending_units += u64::from(units);
        self.unit * units as f32
    }

    #[inline]
    fn count(&mut self, index: usize, weight: f32, access: Access, taken: u32) -> Option<EntryHandle> {
        let accesses = self.sampler.ratio.saturating_mul(taken);
        let entry = self.table.entry_mut(index)?;
        entry.add_weight(weight);
        if entry.is_suppressed() {
            return None;
        }
        let written = if access.write { accesses } else { 0 };
        entry.writes = entry.writes.saturating_add(written);
        entry.reads = entry.reads.saturating_add(accesses - written);
        entry.counters = entry.counters.saturating_add(if access.counter { accesses } else { 0 });
        entry.bytes_in = entry.bytes_in.saturating_add(access.bytes_in.saturating_mul(accesses));
        entry.connections.insert(access.client);
        Some(EntryHandle { index: index as u32, generation: entry.generation() })
    }

    /// Tracks a key whose cell holds `sum` with its present access of `weight`, and gives its index. The
    /// entry begins with what the cell held before, all of which may be other keys' weight.
    #[cold]
    #[inline(never)]
    fn admit(&mut self, key: &[u8], id: KeyId, sum: f32, weight: f32) -> Option<usize> {
        let before = sum - weight;
        let ignore = &self.ignore;
        let name = || (!ignore(key)).then(|| KeyName::new(id.cluster, key));
        match self.table.admit(id.hash, before, before, name) {
            Admission::Joined(index) => {
                self.totals.admitted += 1;
                Some(index)
            }
            Admission::Replaced(index) => {
                self.totals.admitted += 1;
                self.totals.evicted += 1;
                Some(index)
            }
            Admission::Declined => None,
        }
    }

    /// Books the weight recorded since the last call; due before `unit` changes.
    fn settle_weight(&mut self) {
        self.total_weight += std::mem::take(&mut self.pending_units) as f64 * f64::from(self.unit);
    }

    /// While the table is less than half full every key is admitted. From then on one access alone never is
    /// enough, however quiet the traffic.
    #[cold]
    fn refresh_admit_weight(&mut self) {
        self.settle_weight();
        let capacity = self.table.capacity();
        self.admit_weight = if self.table.occupied() * 2 < capacity {
            0.0
        } else {
            ((self.total_weight / (2 * capacity) as f64) as f32).max(2.0 * self.unit)
        };
    }

    fn advance_scale(&mut self) {
        self.scale /= DECAY;
        if self.scale > SCALE_MAX {
            self.table.rescale(1.0 / self.scale);
            self.total_weight /= f64::from(self.scale);
            self.scale = 1.0;
        }
        self.unit = self.scale * self.sampler.ratio as f32;
        self.refresh_admit_weight();
    }
}

impl EntryHandle {
    #[inline]
    fn cell(cell: usize) -> Self {
        Self { index: cell as u32 | CELL_FLAG, generation: 0 }
    }
}

#[cfg(test)]
mod tests;
