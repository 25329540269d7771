//! Counts of what each quota of a counter did: grants, refusals, rechecks.

use smallvec::SmallVec;

/// Why somebody was refused, as operators tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It does not fit under the limit.
    Exhausted,
    /// An operator paused the key.
    Paused,
    /// Redis could not be asked.
    Unavailable,
    /// It was granted, and too few replicas hold it: it is not answered as a grant.
    Unconfirmed,
    /// The quota cannot be applied: its limit key or its counter is not usable.
    Fault,
}

impl Reason {
    /// How many there are: the length of an array by reason.
    pub const COUNT: usize = 5;
}

/// The counts of one quota on one key. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations granted, and confirmed where the quota wants that.
    pub admitted: u64,
    /// Units granted: the sum of the granted deltas that take from the quota. Releases are not subtracted.
    pub admitted_units: u64,
    /// Operations refused, by [`Reason`], in its order.
    pub refused: [u64; Reason::COUNT],
    /// Operations that shadow mode let through and enforcing would have refused.
    pub would_refuse: u64,
    /// Operations let through unchecked while Redis was away.
    pub unchecked: u64,
    /// Sums given up: what was let through unchecked is not in the counter, or nobody knows whether it is. One of them may
    /// stand for many operations.
    pub owed_lost: u64,
    /// Questions to Redis about an exhausted, paused or unavailable counter.
    pub rechecks: u64,
}

/// The counts of every quota that holds a key, in the order of [`super::KeyQuota::parts`].
pub type RuleCounts = SmallVec<[Counts; 2]>;

/// How many increments were let through and are not known to be in the counter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwedCounts {
    /// Not on their way.
    pub owed: u64,
    /// On their way.
    pub paying: u64,
}

impl OwedCounts {
    /// Both.
    pub fn all(self) -> u64 {
        self.owed + self.paying
    }
}
