//! What is owed to a counter: increments that the gateway let through while Redis was away, and how they are added later.

use std::sync::Arc;

use super::machine::{Admission, Phase};
use crate::combine::Clamp;

/// Increments that were answered and are not known to be in the counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Their sum.
    pub sum: i64,
    /// Their number.
    pub increments: u64,
    /// Some of them are on their way, so they may be in the counter.
    pub in_doubt: bool,
}

impl Admission {
    /// What was let through and is still to be added to the counter, at most once per recheck: it is the question whether
    /// Redis is back, and goes as an increment without a clamp. Its outcome is told by [`Self::on_owed_added`],
    /// [`Self::on_owed_lost`], [`Self::on_owed_refused`] or [`Self::on_owed_unknown`]; until then there is no further one.
    pub fn owed_to_flush(&mut self, now_ns: u64) -> Option<i64> {
        if self.paying.is_some() || !self.owes() || now_ns < self.owed_at_ns {
            return None;
        }
        self.owed_at_ns = now_ns.saturating_add(self.quota.recheck_ns());
        self.counts[0].rechecks += 1;
        self.paying = Some(std::mem::take(&mut self.owed));
        self.owed_counts.paying = std::mem::take(&mut self.owed_counts.owed);
        let charges = self.known.pay(now_ns, self.quota.key());
        let charged = !charges.is_empty();
        self.charge = charged.then(|| Arc::new(Clamp { shadow: true, charges, ..Clamp::default() }));
        self.paying
    }

    /// When [`Self::owed_to_flush`] is worth asking next; never while nothing is owed or its outcome is awaited.
    pub fn owed_due_ns(&self) -> Option<u64> {
        (self.paying.is_none() && self.owes()).then_some(self.owed_at_ns)
    }

    /// The clamp for the flush of what is owed: it counts what was let through in its windows, and refuses nothing.
    pub fn charge(&self) -> Option<Arc<Clamp>> {
        self.charge.clone()
    }

    /// What was owed is in the counter, which now has this value. Redis is back: what was let through meanwhile may follow
    /// at once.
    pub fn on_owed_added(&mut self, now_ns: u64, value: i64) {
        self.owed_counts.paying = 0;
        (self.paying, self.owed_at_ns) = (None, 0);
        self.known.settle(true);
        self.known.learn_value(Some(value.saturating_add(self.owed)));
        self.enter(now_ns, Phase::Open);
    }

    /// What was owed has surely not been added, and still is.
    pub fn on_owed_lost(&mut self, sum: i64) {
        self.owed_counts.owed += std::mem::take(&mut self.owed_counts.paying);
        self.paying = None;
        self.known.settle(false);
        self.owed = self.owed.saturating_add(sum);
    }

    /// Nobody knows whether what was owed has been added. It is not tried again, for it might count twice.
    pub fn on_owed_unknown(&mut self) {
        self.owed_counts.paying = 0;
        self.paying = None;
        self.known.settle(true);
        self.count_owed_lost();
    }

    /// Redis refuses what was owed for what the counter's key holds, and would refuse it again: it is given up. Redis is back,
    /// and what is known of the counter no longer holds.
    pub fn on_owed_refused(&mut self, now_ns: u64) {
        self.owed_counts.paying = 0;
        (self.paying, self.owed_at_ns) = (None, 0);
        self.known.settle(true);
        self.known.learn_value(None);
        self.count_owed_lost();
        self.enter(now_ns, Phase::Open);
    }

    /// Something that was let through is not known to be in the counter. Until it is, no flush with a clamp may leave, for it
    /// would grant what has been taken already; dropping the state loses it.
    pub fn owes(&self) -> bool {
        self.owed != 0 || self.paying.is_some() || self.known.owes()
    }

    /// What was let through and is not known to be in the counter. For the owner that must give it up.
    pub fn owed(&self) -> Option<Owed> {
        let in_doubt = self.paying.is_some();
        let owed = Owed { sum: self.unpaid(), increments: self.owed_counts.all(), in_doubt };
        self.owes().then_some(owed)
    }

    /// What was let through and is not known to be in the counter.
    pub(super) fn unpaid(&self) -> i64 {
        self.owed.saturating_add(self.paying.unwrap_or(0))
    }

    /// Gives up the counter, with what is owed to it and not under way. It is for the caller to add that.
    pub fn take_owed(&mut self) -> Option<i64> {
        self.owed_counts.owed = 0;
        Some(std::mem::take(&mut self.owed)).filter(|owed| *owed != 0)
    }

    fn count_owed_lost(&mut self) {
        self.counts.iter_mut().for_each(|counts| counts.owed_lost += 1);
    }
}
