//! One hot key at one worker: whether its operations pass as they came or are folded, and when it tries to pass again.

use super::gauge::Window;

/// How many operations pass in the first round of a probe. Each further round has twice as many.
const PROBE_OPERATIONS: u32 = 32;

/// From the beginning of folding to the first probe. Doubled by each probe in a row that makes a queue.
pub const REST_NS_MIN: u64 = 100_000_000;
/// The longest it gets.
pub const REST_NS_MAX: u64 = 3_200_000_000;

/// Fewer operations than this at the node are not worth folding: there is too little to fold.
const OUTSTANDING_MIN: u64 = 8;

/// Which of the keys that pass at a node where a queue stands are to fold: the heaviest, as many as bring half of the operations
/// there, but none that has few. `passed` are the operations of each within the last `counted_ns`. By Little's law as many of them
/// are at the node as come in the time that one is there.
pub fn heaviest(passed: impl Iterator<Item = (u32, u64)>, window: &Window, counted_ns: u64) -> Vec<u64> {
    let mut keys: Vec<(u32, u64)> = passed.filter(|(operations, _)| *operations > 0).collect();
    keys.sort_unstable_by(|one, other| other.cmp(one));
    let all: u64 = keys.iter().map(|(operations, _)| u64::from(*operations)).sum();
    let mut folded = 0;
    let chosen = keys.into_iter().take_while(|(operations, _)| {
        let outstanding =
            u64::from(*operations).saturating_mul(window.delay_ns.unwrap_or(0)) / counted_ns.max(1);
        let goes_on = outstanding >= OUTSTANDING_MIN && 2 * folded < all;
        folded += u64::from(*operations);
        goes_on
    });
    chosen.map(|(_, hash)| hash).collect()
}

/// Whether the operations on a key pass or are folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Course {
    /// They go as they came.
    #[default]
    Passing,
    /// They are folded.
    Folding,
    /// They are folded, but for a growing number in each round.
    Probing,
}

impl Course {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Course::Passing => "passing",
            Course::Folding => "folding",
            Course::Probing => "probing",
        }
    }
}

/// The course of one key, and how it came to it.
#[derive(Clone, Debug, Default)]
pub struct KeyPace {
    course: Course,
    /// When it took this course, in nanoseconds.
    since_ns: u64,
    /// The excess for which it folded.
    excess_ns: u64,
    next_probe_ns: u64,
    rest_ns: u64,
    /// Operations that pass in this round of the probe, and how many of them are left.
    budget: u32,
    left: u32,
    /// An operation of this round was folded.
    limited: bool,
}

impl KeyPace {
    /// Whether its operations pass or are folded.
    pub fn course(&self) -> Course {
        self.course
    }

    /// Since when, in nanoseconds.
    pub fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// For which excess over the floor it folds, in nanoseconds.
    pub fn excess_ns(&self) -> u64 {
        self.excess_ns
    }

    /// When it probes next, in nanoseconds, if it folds.
    pub fn next_probe_ns(&self) -> Option<u64> {
        (self.course == Course::Folding).then_some(self.next_probe_ns)
    }

    /// Folds from now on, for a queue of this excess. `chance` is from 0 to 1 and keeps gateways from probing in step.
    pub fn fold(&mut self, now_ns: u64, excess_ns: u64, chance: f64) {
        if self.course == Course::Folding {
            return;
        }
        // A key that passed for a shorter time than it had rested has learned nothing by its probe.
        let was_premature = now_ns.saturating_sub(self.since_ns) < 2 * self.rest_ns;
        let fails = self.rest_ns > 0 && (self.course == Course::Probing || was_premature);
        self.rest_ns = if fails { (2 * self.rest_ns).min(REST_NS_MAX) } else { REST_NS_MIN };
        (self.course, self.since_ns, self.excess_ns) = (Course::Folding, now_ns, excess_ns);
        self.rest(now_ns, chance);
    }

    /// Puts the next probe off.
    pub fn rest(&mut self, now_ns: u64, chance: f64) {
        self.next_probe_ns = now_ns + (self.rest_ns as f64 * (0.75 + 0.5 * chance)) as u64;
    }

    /// Whether it is time for a probe.
    pub fn wants_probe(&self, now_ns: u64) -> bool {
        self.course == Course::Folding && now_ns >= self.next_probe_ns
    }

    /// Begins to probe.
    pub fn probe(&mut self, now_ns: u64) {
        (self.course, self.since_ns) = (Course::Probing, now_ns);
        (self.budget, self.left, self.limited) = (PROBE_OPERATIONS, PROBE_OPERATIONS, false);
    }

    /// Whether an operation may pass in this round of a probe.
    pub fn admits(&mut self) -> bool {
        if self.course != Course::Probing || self.left == 0 {
            self.limited = true;
            return false;
        }
        self.left -= 1;
        true
    }

    /// An operation was folded although a probe is under way.
    pub fn on_folded(&mut self) {
        self.limited = true;
    }

    /// A round of the probe is over, without a queue that it made. When nothing had to be folded any more, all passes from now
    /// on.
    pub fn on_good_round(&mut self, now_ns: u64) {
        if !self.limited {
            (self.course, self.since_ns) = (Course::Passing, now_ns);
            return;
        }
        self.budget = self.budget.saturating_mul(2);
        (self.left, self.limited) = (self.budget, false);
    }
}
