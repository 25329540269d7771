//! What a worker counts of the sales of reservations whose home it is, and how each stands. A part of its tallies ([`super::tallies`]).

use super::keyed::{Keyed, RowId};
use super::labels::{SaleRefusal, SaleVerb};
use super::reservations::SaleFacts;
use crate::limits::KEYS_TALLIED_MAX;

/// Sales of reservations whose home is one worker.
#[derive(Clone, Debug)]
pub struct SaleTallies {
    /// Of all sales together.
    pub all: SaleCounts,
    /// One row per sale that is in use.
    pub keys: Keyed<SaleTally>,
}

/// What is counted of the operations on sales.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaleCounts {
    /// Operations that came, by `SaleVerb`.
    pub offered: [u64; SaleVerb::COUNT],
    /// `RESERVE.ADD`s that were told what their user holds.
    pub added: u64,
    /// `RESERVE.CONFIRM`s that were told that the places are confirmed.
    pub confirmed: u64,
    /// `RESERVE.CANCEL`s that gave places back.
    pub cancelled: u64,
    /// Operations refused, by `SaleRefusal`.
    pub refused: [u64; SaleRefusal::COUNT],
    /// Those among them that were refused without a question to Redis.
    pub refused_here: u64,
    /// Calls of the script.
    pub calls: u64,
    /// Operations in them.
    pub carried: u64,
    /// Calls that were lost and sent again.
    pub resends: u64,
}

/// One sale.
#[derive(Clone, Debug, Default)]
pub struct SaleTally {
    /// What is counted of it since its home knows it.
    pub counts: SaleCounts,
    /// How it stands, as Redis said last.
    pub facts: Option<SaleFacts>,
    /// When that was, in nanoseconds of the process's clock.
    pub as_of_ns: u64,
}

impl SaleTallies {
    /// Counts something of the sale that has this row.
    pub fn count(&mut self, row: RowId, add: impl Fn(&mut SaleCounts)) {
        add(&mut self.all);
        add(&mut self.keys.row(row).counts);
    }
}

impl Default for SaleTallies {
    fn default() -> Self {
        Self { all: SaleCounts::default(), keys: Keyed::with_capacity(KEYS_TALLIED_MAX) }
    }
}
