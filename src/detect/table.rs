//! Which keys are tracked: a set-associative table and the filter in front of it.
//!
//! All weights here are on the scale of forward decay: an access of slice `t` weighs `DECAY^-t`, so that older
//! accesses fade relative to newer ones with nothing to be swept at the end of a slice. Only when the scale
//! has grown large is everything brought back to 1 by [`Table::rescale`].
//!
//! Keys are told apart by the 64-bit hash that the caller made with its own random seeds, mixed with their cluster. That two of 4096
//! tracked keys and a billion others meet in one hash has a chance of 2e-7.

use super::connections::Connections;
use super::key::{KEY_BYTES_MAX, KeyName};
use super::slice::SliceRow;

/// Entries of a bucket: as many one-byte tags as a word holds.
const WAYS: usize = 8;
/// Filter cells per entry. Admission asks for `1 / (2 * capacity)` of the weight (see the detector), and eight
/// cells per entry keep the mean cell under a quarter of that, whatever the traffic.
const CELLS_PER_ENTRY: usize = 8;
/// In `Entry::generation`: the key must not be counted.
const IGNORED: u32 = 1 << 31;

/// One tracked key: a cache line, all that an access touches.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Entry {
    hash: u64,
    /// Upper bound of the key's decayed weight.
    weight: f32,
    /// How much of `weight` may belong to other keys.
    error: f32,
    /// Counts the keys that have had this entry, so that a late reply is not booked on a successor.
    generation: u32,
    pub(super) reads: u32,
    pub(super) writes: u32,
    pub(super) counters: u32,
    pub(super) bytes_in: u32,
    pub(super) bytes_out: u32,
    pub(super) connections: Connections,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn is_suppressed(&self) -> bool {
        self.generation & IGNORED != 0
    }

    pub(super) fn add_weight(&mut self, weight: f32) {
        self.weight += weight;
    }
}

/// The fields of a tracked key that are needed only at the end of a slice.
#[derive(Clone, Default)]
struct Label {
    /// None for a vacant or ignored entry.
    key: Option<KeyName>,
    admitted_in_slice: bool,
}

/// The result of an attempt to track a key.
pub(super) enum Admission {
    /// It took a vacant entry, of this index.
    Joined(usize),
    /// It took the entry of this index from a lighter key.
    Replaced(usize),
    /// All keys of its bucket are heavier.
    Declined,
}

/// The tracked keys and the filter.
pub(super) struct Table {
    /// One word per bucket, one byte per entry: the top byte of the hash, zero for a vacant entry.
    tags: Box<[u64]>,
    entries: Box<[Entry]>,
    labels: Box<[Label]>,
    /// Each an upper bound of the decayed weight of every untracked key that falls on it.
    cells: Box<[f32]>,
    occupied: usize,
}

/// The number of entries for a configured number of keys.
pub(super) const fn capacity(tracked_keys: usize) -> usize {
    let wanted = if tracked_keys < 64 { 64 } else { tracked_keys };
    if wanted > 65_536 { 65_536 } else { wanted.next_power_of_two() }
}

/// See [`super::DetectorConfig::memory_bytes_max`].
pub(super) const fn memory_bytes_max(capacity: usize) -> usize {
    // An `Arc<[u8]>` keeps two counters before the bytes.
    let key = KEY_BYTES_MAX + 2 * size_of::<usize>();
    let entry = size_of::<Entry>() + size_of::<Label>() + 1 + CELLS_PER_ENTRY * size_of::<f32>() + key;
    // Rows share the bytes of keys that are still tracked; at worst none of them is.
    let row = size_of::<SliceRow>() + key;
    capacity * (entry + row)
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            tags: vec![0; capacity / WAYS].into(),
            entries: vec![Entry::default(); capacity].into(),
            labels: vec![Label::default(); capacity].into(),
            cells: vec![0.0; capacity * CELLS_PER_ENTRY].into(),
            occupied: 0,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn occupied(&self) -> usize {
        self.occupied
    }

    /// The index of the entry of the key with this hash, if it is tracked.
    ///
    /// The tags of a bucket are compared in one word (the zero-byte test of Mycroft, 1987). Bytes above the
    /// first match may be reported wrongly, so the full hash decides.
    #[inline]
    pub(super) fn index_of(&self, hash: u64) -> Option<usize> {
        const LOW: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = LOW << 7;
        let bucket = self.bucket_of(hash);
        let differing = self.tags[bucket] ^ (u64::from(tag_of(hash)) * LOW);
        let mut matching = differing.wrapping_sub(LOW) & !differing & HIGH;
        while matching != 0 {
            let index = bucket * WAYS + matching.trailing_zeros() as usize / 8;
            if self.entries[index].hash == hash {
                return Some(index);
            }
            matching &= matching - 1;
        }
        None
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, index: usize) -> Option<&mut Entry> {
        self.entries.get_mut(index)
    }

    #[inline]
    pub(super) fn cell_of(&self, hash: u64) -> usize {
        (hash >> 24) as usize & (self.cells.len() - 1)
    }

    /// Adds to a filter cell and gives its new weight.
    #[inline]
    pub(super) fn add_to_cell(&mut self, cell: usize, weight: f32) -> f32 {
        match self.cells.get_mut(cell) {
            Some(sum) => {
                *sum += weight;
                *sum
            }
            None => 0.0,
        }
    }

    /// Tracks the key with this hash, whose weight is at most `weight` and at least `weight - error`, if its
    /// bucket has a vacant entry or a key that is not heavier. `key` is None for a key that must not be counted.
    pub(super) fn admit(
        &mut self,
        hash: u64,
        weight: f32,
        error: f32,
        key: impl FnOnce() -> Option<KeyName>,
    ) -> Admission {
        let bucket = self.bucket_of(hash);
        let first = bucket * WAYS;
        let vacant = (0..WAYS).find(|way| self.tags[bucket].to_le_bytes()[*way] == 0);
        let way = vacant.unwrap_or_else(|| self.lightest_way(first));
        let index = first + way;
        let evicted = self.entries[index];
        if vacant.is_none() {
            if evicted.weight > weight {
                return Admission::Declined;
            }
            let cell = self.cell_of(evicted.hash);
            self.cells[cell] = self.cells[cell].max(evicted.weight);
        }
        let key = key();
        let ignored = if key.is_none() { IGNORED } else { 0 };
        let generation = evicted.generation.wrapping_add(1) & !IGNORED | ignored;
        self.entries[index] = Entry { hash, weight, error, generation, ..Entry::default() };
        self.labels[index] = Label { key, admitted_in_slice: true };
        self.set_tag(bucket, way, tag_of(hash));
        if vacant.is_some() {
            self.occupied += 1;
            return Admission::Joined(index);
        }
        Admission::Replaced(index)
    }

    /// Hands over the rows of keys that were accessed and weigh at least `weight_min` for sure, and begins
    /// counting anew. `unit` is what one access of the ending slice weighs.
    pub(super) fn take_rows(&mut self, weight_min: f32, unit: f32) -> Vec<SliceRow> {
        let is_due = |entry: &Entry| {
            entry.reads | entry.writes | entry.bytes_out != 0 && entry.weight - entry.error >= weight_min
        };
        let mut rows = Vec::with_capacity(self.entries.iter().filter(|entry| is_due(entry)).count());
        for (entry, label) in self.entries.iter_mut().zip(&mut self.labels) {
            if is_due(entry)
                && let Some(key) = &label.key
            {
                let uncounted = if label.admitted_in_slice { entry.error / unit } else { 0.0 };
                rows.push(SliceRow {
                    key: key.clone(),
                    reads: entry.reads,
                    writes: entry.writes,
                    counters: entry.counters,
                    bytes_in: entry.bytes_in,
                    bytes_out: entry.bytes_out,
                    uncounted_max: uncounted.ceil() as u32,
                    connections: entry.connections,
                });
            }
            label.admitted_in_slice = false;
            let &mut Entry { hash, weight, error, generation, .. } = entry;
            *entry = Entry { hash, weight, error, generation, ..Entry::default() };
        }
        rows
    }

    /// Multiplies all weights. What becomes negligible becomes zero, lest it end in denormal numbers, which
    /// are slow to add.
    pub(super) fn rescale(&mut self, factor: f32) {
        const NEGLIGIBLE: f32 = 1e-6;
        let scaled = |weight: f32| if weight * factor < NEGLIGIBLE { 0.0 } else { weight * factor };
        self.cells.iter_mut().for_each(|cell| *cell = scaled(*cell));
        for entry in &mut self.entries {
            entry.weight = scaled(entry.weight);
            entry.error = scaled(entry.error);
        }
    }

    /// Forgets all tracked keys. Their weights move to the filter, where the bound goes on to hold.
    pub(super) fn clear(&mut self) {
        for index in 0..self.entries.len() {
            let Entry { hash, weight, generation, .. } = self.entries[index];
            let cell = self.cell_of(hash);
            self.cells[cell] = self.cells[cell].max(weight);
            self.entries[index] = Entry { generation, ..Entry::default() };
        }
        self.labels.fill(Label::default());
        self.tags.fill(0);
        self.occupied = 0;
    }

    /// Lower and upper bound of the decayed weight of the key with this hash.
    #[cfg(test)]
    pub(super) fn bounds(&self, hash: u64) -> (f32, f32) {
        match self.index_of(hash).map(|index| self.entries[index]) {
            Some(entry) => (entry.weight - entry.error, entry.weight),
            None => (0.0, self.cells[self.cell_of(hash)]),
        }
    }

    #[inline]
    fn bucket_of(&self, hash: u64) -> usize {
        hash as usize & (self.tags.len() - 1)
    }

    fn lightest_way(&self, first: usize) -> usize {
        let weight = |way: &usize| self.entries[first + way].weight;
        (0..WAYS).min_by(|a, b| weight(a).total_cmp(&weight(b))).unwrap_or(0)
    }

    fn set_tag(&mut self, bucket: usize, way: usize, tag: u8) {
        let mut bytes = self.tags[bucket].to_le_bytes();
        bytes[way] = tag;
        self.tags[bucket] = u64::from_le_bytes(bytes);
    }
}

/// Bucket and cell use other bits of the hash.
#[inline]
fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}
