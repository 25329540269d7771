//! The account of the records: per key the deltas that no flush has taken, and the flush whose outcome is unknown.
//!
//! Owns the meaning of the records, when they are written and when they are read again, so that the two agree. A
//! checkpoint is made from it. No IO.

use std::collections::BTreeMap;

use super::record::{FlushEnd, JournalKey, RECORD_BYTES_MAX, Record};
use crate::route::ClusterId;

/// The records of one key in a checkpoint: the deltas of the flush, the flush, the deltas behind it.
const CHECKPOINT_RECORDS_MAX: usize = 3;

/// Deltas that were added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Their sum.
    pub sum: i64,
    /// How many they are.
    pub count: u64,
}

/// A flush that was started and not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFlush {
    /// Its token.
    pub token: u64,
    /// The deltas that it carries.
    pub deltas: Gathered,
    /// The sequence of the last of them.
    pub through: u64,
    /// When it was first sent, in milliseconds of the Unix clock.
    pub first_sent_unix_ms: u64,
}

/// The pending deltas of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenKey {
    /// The flush in doubt.
    pub flush: Option<OpenFlush>,
    /// The deltas behind it.
    pub unflushed: Gathered,
    /// The sequence of the last delta.
    pub sequence: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    keys: BTreeMap<JournalKey, OpenKey>,
    token_last: u64,
    checkpoint_bytes_max: u64,
}

/// A record that cannot follow what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contradiction(pub &'static str);

impl Ledger {
    pub fn new(token_floor: u64) -> Self {
        Self { token_last: token_floor, ..Self::default() }
    }

    /// The highest token that was ever used.
    pub fn token_last(&self) -> u64 {
        self.token_last
    }

    /// Every key on which something is pending.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (&JournalKey, &OpenKey)> {
        self.keys.iter()
    }

    /// The same, with another number for each cluster. Of one that has none, nothing may be pending.
    pub fn renumbered(self, number_of: &[Option<ClusterId>]) -> Self {
        let keys = self.keys.into_iter().filter_map(|(key, open)| {
            let cluster = number_of.get(key.cluster.position()).copied().flatten()?;
            Some((JournalKey { cluster, ..key }, open))
        });
        Self { keys: keys.collect(), ..self }
    }

    /// The largest size of a checkpoint, in bytes.
    pub fn checkpoint_bytes_max(&self) -> u64 {
        self.checkpoint_bytes_max
    }

    /// Takes the next record, and gives what [`Self::restore`] needs to take it back. Changes nothing if it contradicts
    /// what is known.
    pub fn apply(&mut self, record: &Record) -> Result<Option<OpenKey>, Contradiction> {
        let before = self.keys.get(record.key()).copied();
        let mut open = before.unwrap_or_default();
        match *record {
            Record::Deltas { sum, count, sequence, .. } => open.take(sum, count, sequence)?,
            Record::FlushStarted { token, sum, through, first_sent_unix_ms, .. } => {
                open.start(token, sum, through, first_sent_unix_ms)?;
                self.token_last = self.token_last.max(token);
            }
            Record::FlushSettled { token, end, .. } => open.settle(token, end)?,
        }
        let pending = open.flush.is_some() || open.unflushed.count > 0;
        self.restore(record.key(), pending.then_some(open));
        Ok(before)
    }

    /// Puts a key back to what it was. A token that was used stays used.
    pub fn restore(&mut self, key: &JournalKey, open: Option<OpenKey>) {
        let bytes = (CHECKPOINT_RECORDS_MAX * (RECORD_BYTES_MAX + key.name.len())) as u64;
        let was_open = match open {
            Some(open) => {
                self.checkpoint_bytes_max += bytes;
                self.keys.insert(key.clone(), open).is_some()
            }
            None => self.keys.remove(key).is_some(),
        };
        if was_open {
            self.checkpoint_bytes_max -= bytes;
        }
    }

    /// The shortest list of records that leads here from an empty ledger with the same token floor.
    pub fn checkpoint(&self) -> impl Iterator<Item = Record> {
        self.keys.iter().flat_map(|(key, open)| {
            let deltas = |deltas: Gathered, sequence| Record::Deltas {
                key: key.clone(),
                sum: deltas.sum,
                count: deltas.count,
                sequence,
            };
            let carried = open.flush.map(|flush| deltas(flush.deltas, flush.through));
            let started = open.flush.map(|flush| Record::FlushStarted {
                key: key.clone(),
                token: flush.token,
                sum: flush.deltas.sum,
                through: flush.through,
                first_sent_unix_ms: flush.first_sent_unix_ms,
            });
            let unflushed = (open.unflushed.count > 0).then(|| deltas(open.unflushed, open.sequence));
            [carried, started, unflushed].into_iter().flatten()
        })
    }
}

impl OpenKey {
    fn take(&mut self, sum: i64, count: u64, sequence: u64) -> Result<(), Contradiction> {
        if count == 0 || sequence <= self.sequence {
            return Err(Contradiction("a delta is out of order"));
        }
        let unflushed = self.unflushed.sum.checked_add(sum);
        let all = self.flush.map_or(0, |flush| flush.deltas.sum).checked_add(unflushed.unwrap_or(0));
        let (Some(sum), Some(_), Some(count)) = (unflushed, all, self.unflushed.count.checked_add(count))
        else {
            return Err(Contradiction("the deltas of a key do not fit into 64 bits"));
        };
        (self.unflushed, self.sequence) = (Gathered { sum, count }, sequence);
        Ok(())
    }

    fn start(&mut self, token: u64, sum: i64, through: u64, sent: u64) -> Result<(), Contradiction> {
        if self.flush.is_some() {
            return Err(Contradiction("a flush starts before the last one of its key is settled"));
        }
        if self.unflushed.count == 0 || sum != self.unflushed.sum || through != self.sequence {
            return Err(Contradiction("a flush does not carry the deltas before it"));
        }
        let deltas = std::mem::take(&mut self.unflushed);
        self.flush = Some(OpenFlush { token, deltas, through, first_sent_unix_ms: sent });
        Ok(())
    }

    fn settle(&mut self, token: u64, end: FlushEnd) -> Result<(), Contradiction> {
        let Some(flush) = self.flush.take_if(|flush| flush.token == token) else {
            return Err(Contradiction("a flush is settled that was not started"));
        };
        if end == FlushEnd::Returned {
            self.unflushed.sum = self.unflushed.sum.wrapping_add(flush.deltas.sum);
            self.unflushed.count = self.unflushed.count.saturating_add(flush.deltas.count);
        }
        Ok(())
    }
}
