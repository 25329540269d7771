//! What was lost since the start: increments that were answered and that Redis has not, or not surely.
//!
//! A loss is told of in the status line while it is recent. Then its cause has ended; what is lost stays lost, so the sum stays as a
//! figure of its own, with when it began and when it last grew, until the process ends.

use serde::Serialize;

use super::clock::Clock;
use super::merged::Merged;

/// For how long after the last of them a loss is told of in the status line.
pub const RECENT_MS: u64 = 10_000;

/// The ways in which something is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Write-behind increments that Redis refused for good.
    Refused,
    /// Write-behind increments of which it is not known whether Redis has them.
    Unknown,
    /// Sums that quotas let through while Redis was away, and that are not, or not surely, in their counters.
    Owed,
}

impl LossKind {
    const ALL: [Self; 3] = [Self::Refused, Self::Unknown, Self::Owed];
}

/// One kind of loss, of which there was some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Which.
    pub kind: LossKind,
    /// How many since the start.
    pub count: u64,
    /// How many of them while it is recent; 0 when it is not.
    pub recent: u64,
    /// When the first was lost, in milliseconds since 1970.
    pub first_at_ms: u64,
    /// When the last was lost.
    pub last_at_ms: u64,
    /// How long ago the first was lost, in milliseconds.
    pub first_ms_ago: u64,
    /// How long ago the last was lost.
    pub last_ms_ago: u64,
    /// What is lost, and since when: `status` writes it.
    pub sentence: String,
}

/// What is remembered of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    seen: u64,
    count: u64,
    recent: u64,
    first: Option<Clock>,
    last: Option<Clock>,
}

/// The losses of all kinds.
#[derive(Debug, Default)]
pub struct Losses([Known; LossKind::ALL.len()]);

impl Losses {
    /// Takes the sums of now, and returns what was lost so far.
    pub fn take(&mut self, clock: Clock, merged: &Merged) -> Vec<Loss> {
        let behind = &merged.all.write_behind;
        let owed = merged.quotas.values().map(|quota| quota.owed_lost).sum();
        let counts = [behind.lost_deltas, behind.unknown_deltas, owed];
        let kinds = LossKind::ALL.into_iter().zip(counts).zip(&mut self.0);
        kinds
            .filter_map(|((kind, count), known)| known.take(clock, count).then(|| known.loss(kind, clock))?)
            .collect()
    }
}

impl Known {
    /// Returns whether there was any.
    fn take(&mut self, clock: Clock, count: u64) -> bool {
        // The row of a quota may be given to another, and its count is gone then.
        let new = count.saturating_sub(self.seen);
        self.seen = count;
        let is_recent = |last: Clock| clock.monotonic_ms.saturating_sub(last.monotonic_ms) < RECENT_MS;
        if !self.last.is_some_and(is_recent) {
            self.recent = 0;
        }
        if new > 0 {
            self.count += new;
            self.recent += new;
            self.first.get_or_insert(clock);
            self.last = Some(clock);
        }
        self.count > 0
    }

    fn loss(&self, kind: LossKind, now: Clock) -> Option<Loss> {
        let (first, last) = (self.first?, self.last?);
        let ago_ms = |then: Clock| now.monotonic_ms.saturating_sub(then.monotonic_ms);
        Some(Loss {
            kind,
            count: self.count,
            recent: self.recent,
            first_at_ms: first.unix_ms,
            last_at_ms: last.unix_ms,
            first_ms_ago: ago_ms(first),
            last_ms_ago: ago_ms(last),
            sentence: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_ms: u64) -> Clock {
        Clock { monotonic_ms, unix_ms: 1_000_000 + monotonic_ms }
    }

    #[test]
    fn a_loss_is_recent_for_a_while_and_its_sum_stays() {
        let (mut losses, mut merged) = (Losses::default(), Merged::default());
        assert_eq!(losses.take(at(0), &merged), []);
        merged.all.write_behind.lost_deltas = 3;
        let found = losses.take(at(1_000), &merged);
        assert_eq!((found.len(), found[0].count, found[0].recent), (1, 3, 3));
        merged.all.write_behind.lost_deltas = 4;
        let found = losses.take(at(8_000), &merged);
        assert_eq!((found[0].count, found[0].recent), (4, 4));
        assert_eq!(losses.take(at(17_999), &merged)[0].recent, 4);
        let found = losses.take(at(18_000), &merged);
        assert_eq!((found[0].count, found[0].recent), (4, 0));
        assert_eq!((found[0].first_ms_ago, found[0].last_ms_ago), (17_000, 10_000));
        assert_eq!((found[0].first_at_ms, found[0].last_at_ms), (1_001_000, 1_008_000));
        // A new one is told of by itself.
        merged.all.write_behind.lost_deltas = 5;
        let found = losses.take(at(30_000), &merged);
        assert_eq!((found[0].count, found[0].recent), (5, 1));
    }

    #[test]
    fn a_row_of_a_quota_that_is_gone_takes_nothing_back() {
        let (mut losses, mut merged) = (Losses::default(), Merged::default());
        let row = |owed_lost| crate::shared::tallies::QuotaTally { owed_lost, ..Default::default() };
        merged.quotas.insert((std::sync::Arc::from(&b"a"[..]), 0), row(2));
        assert_eq!(losses.take(at(0), &merged)[0].count, 2);
        merged.quotas.clear();
        assert_eq!(losses.take(at(1), &merged)[0].count, 2);
        merged.quotas.insert((std::sync::Arc::from(&b"b"[..]), 0), row(1));
        let found = losses.take(at(2), &merged);
        assert_eq!((found[0].kind, found[0].count), (LossKind::Owed, 3));
    }
}
