//! What Redis refused of a fold lately, by kind, so that it is not folded in that way again and again.
//!
//! A refused fold answers most of its members: each would have been refused alike. Two things it can't tell. A `GET` among
//! increments needs the value, which the refusal does not say: it goes a second time, and then the two kinds stay apart. And of
//! increments that overflow together some may fit: they go a second time as they came, and then at once. Both cost a
//! second trip only where they are not expected, so they are remembered for some seconds. Then the whole is tried again, since the
//! reason may be gone.

use super::segment::Kind;

/// How long a refusal is remembered: a second trip once in this time is no load.
const REFUSALS_NS: u64 = 10_000_000_000;

/// The kinds of segments that were refused, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    /// Their reads had to go by themselves.
    apart: u8,
    /// Their increments had to go one by one.
    each: u8,
    /// When the last of them was refused.
    since_ns: u64,
}

/// What the members of a refused fold are still to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untold {
    /// The reads: what is there.
    Reads,
    /// All.
    Each,
}

/// Only these may have to be told something else than that they were refused.
fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::Counter => 1,
        Kind::HashCounter => 2,
        Kind::Sets => 4,
        Kind::Script(_) => 8,
        Kind::Read { .. } | Kind::Write(_) | Kind::Transaction(_) => 0,
    }
}

impl Refusals {
    /// A fold of this kind was refused.
    pub fn note(&mut self, kind: Kind, untold: Untold) {
        match untold {
            Untold::Reads => self.apart |= bit(kind),
            Untold::Each => self.each |= bit(kind),
        }
    }

    /// Takes in what was noted of a flush that was first sent at this time.
    pub fn absorb(&mut self, noted: Self, sent_ns: u64) {
        if noted != Self::default() {
            (self.apart, self.each) = (self.apart | noted.apart, self.each | noted.each);
            self.since_ns = self.since_ns.max(sent_ns);
        }
    }

    /// Forgets what is too old.
    pub fn forget(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.since_ns) > REFUSALS_NS {
            *self = Self::default();
        }
    }

    /// Whether reads are not to be answered by writes of this kind.
    pub fn keep_apart(&self, kind: Kind) -> bool {
        self.apart & bit(kind) != 0
    }

    /// Whether increments of this kind go as they came.
    pub fn unfold(&self, kind: Kind) -> bool {
        self.each & bit(kind) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_of_its_kind_and_for_some_time() {
        let mut refusals = Refusals::default();
        let mut noted = Refusals::default();
        noted.note(Kind::Counter, Untold::Reads);
        refusals.absorb(noted, 5);
        refusals.absorb(Refusals::default(), 7);
        let seen = |refusals: &Refusals| {
            [Kind::Counter, Kind::HashCounter].map(|kind| (refusals.keep_apart(kind), refusals.unfold(kind)))
        };
        assert_eq!(seen(&refusals), [(true, false), (false, false)]);
        let mut noted = Refusals::default();
        noted.note(Kind::HashCounter, Untold::Each);
        refusals.absorb(noted, 9);
        refusals.forget(9 + REFUSALS_NS);
        assert_eq!(seen(&refusals), [(true, false), (false, true)]);
        refusals.forget(10 + REFUSALS_NS);
        assert_eq!(seen(&refusals), [(false, false); 2]);
    }
}
