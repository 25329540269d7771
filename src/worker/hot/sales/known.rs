//! What the home of a sale knows of it from the last reply, and whom it refuses by that without asking Redis.
//!
//! A sale that is sold out, closed, not open yet, or not there is asked about once per `reserve.recheck`; whoever comes between is
//! refused. But a holder who asks again gets its holding, whatever became of the sale. So where somebody holds places, only those
//! are refused here who are not among the holders ([`super::holders`]), or whom Redis itself has refused, since the last place was given:
//! until the next is given, nobody of them can have come to hold one. A place that is given changes the last number given (`seq`), and
//! whoever was refused before is asked about anew.
//!
//! Has no clock and does no IO: the time is passed in.

use crate::reserve::{Refusal, SalePhase};
use crate::shared::reservations::SaleFacts;

/// Users that were refused, of all sales of a worker: 2 MiB, once there is one. A user whose place another has taken is asked about again.
const REFUSED_MAX: usize = 262_144;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    facts: Option<SaleFacts>,
    /// When Redis said so.
    as_of_ns: u64,
    /// When the last question was let through.
    asked_ns: u64,
}

impl Known {
    /// What Redis said last.
    pub fn facts(&self) -> Option<&SaleFacts> {
        self.facts.as_ref()
    }

    /// How old that is.
    fn age_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.as_of_ns)
    }

    /// Redis has said how the sale stands.
    pub fn learn(&mut self, now_ns: u64, facts: SaleFacts) {
        (self.facts, self.as_of_ns) = (Some(facts), now_ns);
    }

    /// Nothing is known any more: the sale was changed.
    pub fn forget(&mut self) {
        self.facts = None;
    }

    /// Why a user who asks for a place is refused without a question to Redis, if so. `was_refused` says whether Redis has refused
    /// this user since the last place was given.
    pub fn refuses(&mut self, now_ns: u64, recheck_ns: u64, was_refused: bool) -> Option<Refusal<'static>> {
        let facts = self.facts.as_ref()?;
        let refusal = refusal_of(facts, self.age_ns(now_ns))?;
        if now_ns.saturating_sub(self.as_of_ns.max(self.asked_ns)) >= recheck_ns {
            self.asked_ns = now_ns;
            return None;
        }
        (facts.taken == 0 || was_refused).then_some(refusal)
    }
}

/// Why a sale that stood so refuses, if it does, so long after.
fn refusal_of(facts: &SaleFacts, age_ns: u64) -> Option<Refusal<'static>> {
    match facts.phase {
        SalePhase::SoldOut => Some(Refusal::SoldOut(0)),
        SalePhase::Closed | SalePhase::Ended => Some(Refusal::Closed),
        SalePhase::None => Some(Refusal::NoSku),
        SalePhase::NotOpen => {
            let now_ms = facts.now_ms.saturating_add((age_ns / 1_000_000) as i64);
            (now_ms < facts.start_ms).then_some(Refusal::NotOpen(facts.start_ms))
        }
        SalePhase::Open | SalePhase::Moved => None,
    }
}

/// The users whom Redis has refused. A hash stands where its lowest bits say, until another takes its place.
#[derive(Debug, Default)]
pub(super) struct Refused(Vec<u64>);

impl Refused {
    /// The mark of a user of a sale who was refused when this was the last number given.
    pub fn mark(sale: u64, user: u64, seq: i64) -> u64 {
        let mixed = (sale ^ user.rotate_left(23)).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seq as u64;
        let mark = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        // 0 stands for nobody.
        (mark ^ (mark >> 32)).max(1)
    }

    /// Remembers a mark.
    pub fn insert(&mut self, mark: u64) {
        if self.0.is_empty() {
            self.0 = vec![0; REFUSED_MAX];
        }
        self.0[mark as usize % REFUSED_MAX] = mark;
    }

    /// Whether a mark is remembered.
    pub fn contains(&self, mark: u64) -> bool {
        self.0.get(mark as usize % REFUSED_MAX) == Some(&mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const RECHECK_NS: u64 = 50 * MS;

    fn state(phase: SalePhase, taken: i64) -> SaleFacts {
        SaleFacts {
            phase,
            taken,
            held: 0,
            limit: 10,
            seq: 10,
            buckets: 1,
            start_ms: 2_000,
            end_ms: 0,
            now_ms: 1_000,
        }
    }

    #[test]
    fn a_sale_that_refuses_is_asked_about_once_per_recheck() {
        let mut known = Known::default();
        assert_eq!(known.refuses(1, RECHECK_NS, true), None, "nothing is known");
        for (status, refusal) in [
            (SalePhase::SoldOut, Refusal::SoldOut(0)),
            (SalePhase::Closed, Refusal::Closed),
            (SalePhase::None, Refusal::NoSku),
        ] {
            known.learn(100 * MS, state(status, 0));
            assert_eq!(known.refuses(149 * MS, RECHECK_NS, false), Some(refusal));
            assert_eq!(known.refuses(150 * MS, RECHECK_NS, false), None, "the question");
            assert_eq!(known.refuses(151 * MS, RECHECK_NS, false), Some(refusal), "it is under way");
            assert_eq!(known.refuses(200 * MS, RECHECK_NS, false), None, "it was not answered");
            known.forget();
            assert_eq!(known.refuses(201 * MS, RECHECK_NS, false), None);
            known.asked_ns = 0;
        }
        known.learn(300 * MS, state(SalePhase::Open, 0));
        assert_eq!(known.refuses(301 * MS, RECHECK_NS, true), None);
    }

    #[test]
    fn who_may_hold_something_is_not_refused_unasked() {
        let mut known = Known::default();
        known.learn(100 * MS, state(SalePhase::SoldOut, 10));
        assert_eq!(known.refuses(101 * MS, RECHECK_NS, false), None);
        assert_eq!(known.refuses(101 * MS, RECHECK_NS, true), Some(Refusal::SoldOut(0)));
        let mut refused = Refused::default();
        let mark = Refused::mark(7, 8, 10);
        assert!(!refused.contains(mark));
        refused.insert(mark);
        assert!(refused.contains(mark));
        assert!(!refused.contains(Refused::mark(7, 8, 11)), "another place was given since");
        assert!(!refused.contains(Refused::mark(8, 8, 10)) && !refused.contains(Refused::mark(7, 9, 10)));
    }

    #[test]
    fn a_sale_opens_by_the_clock_of_redis() {
        let mut known = Known::default();
        known.learn(0, state(SalePhase::NotOpen, 0));
        let long_ns = u64::MAX;
        assert_eq!(known.refuses(999 * MS, long_ns, false), Some(Refusal::NotOpen(2_000)));
        assert_eq!(known.refuses(1_000 * MS, long_ns, false), None);
    }
}
