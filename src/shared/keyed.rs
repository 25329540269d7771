//! A bounded table of tallies by key.
//!
//! A worker takes a row when a key becomes interesting (hot, or under a quota), keeps the row's number in its own state of that
//! key, and counts without a lookup. Rows are bounded. Keys beyond the bound share the shared row, so counting never
//! fails and totals stay right. A row that is given back loses its counts: totals that must never shrink are kept elsewhere.

use std::sync::Arc;

/// Where a key is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowId {
    /// In a row of its own, valid until [`Keyed::release`].
    Own(RowIndex),
    /// In the row that all keys beyond the bound share.
    Shared,
}

/// The number of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowIndex(u32);

/// At most a fixed number of rows of `T`, each with its key.
#[derive(Clone, Debug)]
pub struct Keyed<T> {
    rows: Vec<Option<(Arc<[u8]>, T)>>,
    free: Vec<u32>,
    overflow: T,
    rows_max: usize,
}

impl<T: Default> Keyed<T> {
    /// An empty table of at most `rows_max` rows.
    pub fn with_capacity(rows_max: usize) -> Self {
        Self { rows: Vec::new(), free: Vec::new(), overflow: T::default(), rows_max }
    }

    /// Takes a row for `key`, or the shared row when all are taken. The caller keeps at most one row per
    /// key.
    pub fn acquire(&mut self, key: Arc<[u8]>) -> RowId {
        if let Some(row) = self.free.pop() {
            self.rows[row as usize] = Some((key, T::default()));
            return RowId::Own(RowIndex(row));
        }
        if self.rows.len() >= self.rows_max {
            return RowId::Shared;
        }
        self.rows.push(Some((key, T::default())));
        RowId::Own(RowIndex(self.rows.len() as u32 - 1))
    }

    /// Gives a row back. Its counts end here.
    pub fn release(&mut self, row: RowId) {
        if let RowId::Own(RowIndex(row)) = row
            && let Some(slot) = self.rows.get_mut(row as usize)
            && slot.take().is_some()
        {
            self.free.push(row);
        }
    }

    /// The row's counts; of a row that was given back, the shared row's.
    pub fn row(&mut self, row: RowId) -> &mut T {
        let RowId::Own(RowIndex(row)) = row else { return &mut self.overflow };
        match self.rows.get_mut(row as usize) {
            Some(Some((_, tally))) => tally,
            _ => &mut self.overflow,
        }
    }

    /// Every row in use, with its key; the shared row is not among them.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<[u8]>, &T)> {
        self.rows.iter().flatten().map(|(key, tally)| (key, tally))
    }

    /// The counts of all keys beyond the bound, together.
    pub fn overflow(&self) -> &T {
        &self.overflow
    }

    /// The number of rows in use.
    pub fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Whether no row is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Arc<[u8]> {
        Arc::from(name.as_bytes())
    }

    #[test]
    fn keys_beyond_the_bound_share_the_overflow_row() {
        let mut table: Keyed<u64> = Keyed::with_capacity(2);
        for name in ["a", "b", "c", "d"] {
            let row = table.acquire(key(name));
            *table.row(row) += 1;
        }
        assert_eq!(table.len(), 2);
        assert_eq!(*table.overflow(), 2);
    }

    #[test]
    fn a_row_given_back_starts_from_zero_for_its_next_key() {
        let mut table: Keyed<u64> = Keyed::with_capacity(1);
        let first = table.acquire(key("a"));
        *table.row(first) += 5;
        table.release(first);
        table.release(first);
        assert!(table.is_empty());
        let second = table.acquire(key("b"));
        assert_eq!(*table.row(second), 0);
        assert_eq!(table.iter().map(|(key, _)| &key[..]).collect::<Vec<_>>(), [b"b"]);
        assert_eq!(table.acquire(key("c")), RowId::Shared, "a double release must not free two rows");
    }
}
