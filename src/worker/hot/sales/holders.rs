//! Who holds places of a sale that refuses: the users of some of its buckets, so that all others in them are refused without a question.
//!
//! A bucket is asked for when somebody in it is refused by Redis, and holds some fifty users. Until the next place in line is given nobody
//! comes to hold one who did not, so what was read stays true of whoever is absent, and only of them: who is there may have given the place
//! back. A place that is given, or a bucket that is split, ends all that was read.
//!
//! Bound: users of all sales of a worker, [`USERS_MAX`]. Beyond it no bucket is read, and each stranger is asked about once.

use std::collections::HashMap;

use crate::shared::reservations::SaleFacts;

/// Users of the buckets that one worker remembers, 8 bytes each and half as much for the tables.
pub(super) const USERS_MAX: usize = 1_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// The last place in line, and the number of buckets, of which this is true.
    of: (i64, u32),
    /// Hashes of users by bucket; none while a bucket has been asked for.
    buckets: HashMap<u32, Option<Box<[u64]>>>,
    users: usize,
}

/// What is known of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// The user holds nothing.
    Nothing,
    /// The user may hold something.
    Perhaps,
    /// The user's bucket is to be asked for.
    Unknown,
}

impl Holders {
    /// What is known of the user with this hash, in this bucket, while the sale stands so.
    pub fn of(&self, facts: &SaleFacts, bucket: u32, user: u64) -> Holds {
        if self.of != (facts.seq, facts.buckets) {
            return Holds::Unknown;
        }
        match self.buckets.get(&bucket) {
            None => Holds::Unknown,
            Some(Some(users)) if !users.contains(&user) => Holds::Nothing,
            Some(_) => Holds::Perhaps,
        }
    }

    /// A bucket is asked for while the sale stands so.
    pub fn ask(&mut self, facts: &SaleFacts, bucket: u32) {
        if self.of != (facts.seq, facts.buckets) {
            *self = Self { of: (facts.seq, facts.buckets), ..Self::default() };
        }
        self.buckets.entry(bucket).or_default();
    }

    /// The users of a bucket that was asked for, if that told anything. How many users more are remembered now.
    pub fn learn(&mut self, facts: &SaleFacts, bucket: u32, users: Option<Box<[u64]>>) -> usize {
        match users {
            Some(users) if self.of == (facts.seq, facts.buckets) => {
                let count = users.len();
                self.users += count;
                self.buckets.insert(bucket, Some(users));
                count
            }
            _ => {
                if self.buckets.get(&bucket).is_some_and(Option::is_none) {
                    self.buckets.remove(&bucket);
                }
                0
            }
        }
    }

    /// Forgets all. How many users that were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(self).users
    }

    /// Whether what is remembered is of a sale that stands otherwise.
    pub fn is_over(&self, facts: &SaleFacts) -> bool {
        !self.buckets.is_empty() && self.of != (facts.seq, facts.buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reserve::SalePhase;

    fn facts(seq: i64, buckets: u32) -> SaleFacts {
        let (phase, taken, limit) = (SalePhase::SoldOut, 10, 10);
        SaleFacts { phase, taken, held: 0, limit, seq, buckets, start_ms: 0, end_ms: 0, now_ms: 0 }
    }

    #[test]
    fn a_bucket_tells_who_holds_nothing_until_a_place_is_given() {
        let mut holders = Holders::default();
        let now = facts(10, 4);
        assert_eq!(holders.of(&now, 3, 77), Holds::Unknown);
        holders.ask(&now, 3);
        assert_eq!(holders.of(&now, 3, 77), Holds::Perhaps, "it is asked for once");
        assert_eq!(holders.learn(&now, 3, Some(Box::from([1, 2]))), 2);
        assert_eq!((holders.of(&now, 3, 77), holders.of(&now, 3, 2)), (Holds::Nothing, Holds::Perhaps));
        assert_eq!(holders.of(&now, 2, 77), Holds::Unknown);
        for later in [facts(11, 4), facts(10, 5)] {
            assert!(holders.is_over(&later) && !holders.is_over(&now));
            assert_eq!(holders.of(&later, 3, 77), Holds::Unknown);
        }
        holders.ask(&now, 2);
        assert_eq!(holders.learn(&now, 2, None), 0);
        assert_eq!(holders.of(&now, 2, 77), Holds::Unknown, "a question that told nothing is asked again");
        assert_eq!(holders.clear(), 2);
    }
}
