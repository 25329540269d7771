//! What a worker publishes about the quotas of its home keys, and the polled limits that it is given.
//!
//! Each worker replaces its own board as a whole, and the control thread reads all of them. Limits that no flush can read go the
//! other way: the control thread polls them and publishes the values.

use std::collections::HashMap;

use bytes::Bytes;

use super::quota_facts::QuotaFacts;
use crate::admission::PolledLimit;

/// One worker's board.
#[derive(Debug, Default)]
pub struct QuotaBoard {
    /// The levels of the keys that have rows of their own in the tallies: so they are bounded by those.
    pub facts: Vec<QuotaFacts>,
    /// Limit keys that have to be polled: the first ones in the order of their names, and one more than are polled at the most.
    pub polled: Vec<Bytes>,
}

/// The values of the polled limit keys, as last seen. A key that is missing here has not been read yet.
pub type PolledLimits = HashMap<Bytes, PolledLimit>;
