//! What workers send each other about sales of reservations, and what they know of a sale. The answers go back with those of combined keys
//! ([`super::handoff`]).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::handoff::Waiter;
use crate::reserve::{ReserveOp, SalePhase, SaleState};
use crate::route::SlotAt;

/// The operations of one request: one, but for `RESERVE.MCHECK`, which has one for each user.
pub type SaleOps = SmallVec<[ReserveOp; 1]>;

/// A request on its way to the home of its sale, whose name it borrows as long as it stays with its client's worker.
#[derive(Clone, Debug)]
pub struct SaleRequest<Sku = Bytes> {
    /// The name of the sale.
    pub sku: Sku,
    /// Its hash, which decides its home.
    pub hash: u64,
    /// Its slot.
    pub place: SlotAt,
    /// What is asked.
    pub ops: SaleOps,
    /// The reply is an array of what each operation is answered.
    pub is_list: bool,
    /// The hash of the user; of the first, where there are several.
    pub user: u64,
    /// Who waits.
    pub waiter: Waiter,
}

impl SaleRequest<&[u8]> {
    /// Keeps the name beyond the request it came in.
    pub fn into_owned(self) -> SaleRequest {
        let Self { sku, hash, place, ops, is_list, user, waiter } = self;
        SaleRequest { sku: Bytes::copy_from_slice(sku), hash, place, ops, is_list, user, waiter }
    }
}

/// How a sale stands, as Redis said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaleFacts {
    /// What it does with an ADD.
    pub phase: SalePhase,
    /// How many places are taken.
    pub taken: i64,
    /// How many of them wait to be confirmed.
    pub held: i64,
    /// Of so many.
    pub limit: i64,
    /// The last place in line.
    pub seq: i64,
    /// How many buckets the holders are in.
    pub buckets: u32,
    /// From when on it gives places, in unix time; 0 for always.
    pub start_ms: i64,
    /// Until when; 0 for ever.
    pub end_ms: i64,
    /// Redis's clock.
    pub now_ms: i64,
}

impl From<&SaleState<'_>> for SaleFacts {
    fn from(state: &SaleState<'_>) -> Self {
        let &SaleState { phase, taken, held, limit, seq, buckets, start_ms, end_ms, now_ms, .. } = state;
        let buckets = u32::try_from(buckets).unwrap_or_default();
        Self { phase, taken, held, limit, seq, buckets, start_ms, end_ms, now_ms }
    }
}

/// How a sale stood when this gateway looked at it last, through whichever gateway it is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SaleSeen {
    /// How it stood.
    pub facts: SaleFacts,
    /// Places given per second, smoothed over ten seconds by Redis.
    pub rate: f64,
    /// When that was, on the clock of the process.
    pub as_of_ns: u64,
}

/// The sales that were seen so, by name.
pub type SalesSeen = HashMap<Arc<[u8]>, SaleSeen>;
