//! The last steps of one key, and of the traffic as a whole.
//!
//! Owns sums, rates and trends over them. Deliberately knows no threshold; the merger does.

use super::config::MergerConfig;
use super::connections::Connections;
use super::hot::{Class, Rates};
use super::slice::SliceRow;

/// The highest trend that is reported, also when there was nothing before.
const TREND_MAX: f64 = 100.0;
/// A new key is judged on this many steps.
pub(super) const ENTER_STEPS: u64 = 2;

/// Counts of a key in one or more steps, over all workers.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) counters: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) uncounted_max: u64,
    pub(super) connections: Connections,
}

impl Counts {
    pub(super) fn ops(&self) -> u64 {
        self.reads + self.writes
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes_in + self.bytes_out
    }

    /// The kind of load by accesses.
    pub(super) fn class(&self) -> Class {
        if self.counters * 2 > self.ops() {
            Class::CounterHot
        } else if self.writes > self.reads {
            Class::WriteHot
        } else {
            Class::ReadHot
        }
    }

    fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.counters += other.counters;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.uncounted_max += other.uncounted_max;
        self.connections.unite(&other.connections);
    }
}

impl From<&SliceRow> for Counts {
    fn from(row: &SliceRow) -> Self {
        Self {
            reads: u64::from(row.reads),
            writes: u64::from(row.writes),
            counters: u64::from(row.counters),
            bytes_in: u64::from(row.bytes_in),
            bytes_out: u64::from(row.bytes_out),
            uncounted_max: u64::from(row.uncounted_max),
            connections: row.connections,
        }
    }
}

/// A ring of the last steps of one key. Steps are numbered from 1; one that the key was not seen in has no
/// slot of its number, so that nothing needs to be cleared as time passes.
#[derive(Clone)]
pub(super) struct KeyWindow {
    slots: Box<[(u64, Counts)]>,
    first_step: u64,
    last_step: u64,
}

impl KeyWindow {
    pub(super) fn new(window_steps: usize) -> Self {
        Self { slots: vec![(0, Counts::default()); window_steps].into(), first_step: 0, last_step: 0 }
    }

    pub(super) fn add(&mut self, step: u64, counts: &Counts) {
        let steps = self.slots.len() as u64;
        if self.first_step == 0 || self.last_step + steps <= step {
            self.first_step = step;
        }
        self.last_step = step;
        let slot = &mut self.slots[(step % steps) as usize];
        if slot.0 != step {
            *slot = (step, Counts::default());
        }
        slot.1.add(counts);
    }

    /// Whether all of it is over at `step`.
    pub(super) fn is_over(&self, step: u64) -> bool {
        self.last_step + self.slots.len() as u64 <= step
    }

    /// The sum of the last `steps` steps, the one numbered `step` included.
    pub(super) fn sum(&self, step: u64, steps: u64) -> Counts {
        let mut sum = Counts::default();
        for (number, counts) in &self.slots {
            if *number <= step && number + steps > step {
                sum.add(counts);
            }
        }
        sum
    }

    /// How many steps the key is judged over: its age, but at least [`ENTER_STEPS`] and at most the window.
    fn age(&self, step: u64) -> u64 {
        (step + 1 - self.first_step).clamp(ENTER_STEPS, self.slots.len() as u64)
    }

    /// The key's figures at `step`.
    pub(super) fn rates(&self, step: u64, traffic: &Traffic) -> Rates {
        let age = self.age(step);
        let counts = self.sum(step, age);
        let total = traffic.sum(step, age);
        let half = age / 2;
        let newer = self.sum(step, half);
        let older_ops = self.sum(step, 2 * half).ops() - newer.ops();
        let trend = if older_ops == 0 { TREND_MAX } else { newer.ops() as f64 / older_ops as f64 };
        Rates {
            ops: total.per_second(counts.ops()),
            reads: total.per_second(counts.reads),
            writes: total.per_second(counts.writes),
            counters: total.per_second(counts.counters),
            bytes_in: total.per_second(counts.bytes_in),
            bytes_out: total.per_second(counts.bytes_out),
            error: total.per_second(counts.uncounted_max),
            share: total.share(counts.ops()),
            trend: trend.min(TREND_MAX),
            connections: counts.connections.estimate(),
        }
    }
}

/// All keys together, in one or more steps.
#[derive(Clone, Copy, Default)]
pub(super) struct Total {
    pub(super) duration_ns: u64,
    /// The longest slice that arrived.
    pub(super) slice_ns_max: u64,
    pub(super) ops: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Total {
    pub(super) fn per_second(&self, count: u64) -> f64 {
        count as f64 * 1e9 / self.duration_ns.max(1) as f64
    }

    /// Like [`per_second`](Self::per_second), but where a worker was late, over the time that its slice covers:
    /// a stall must not look like a burst.
    pub(super) fn judged_per_second(&self, count: u64) -> f64 {
        count as f64 * 1e9 / self.duration_ns.max(self.slice_ns_max).max(1) as f64
    }

    pub(super) fn share(&self, ops: u64) -> f64 {
        // A slice may be booked a step after another worker's, so that parts can exceed the whole for a step.
        (ops as f64 / self.ops.max(1) as f64).min(1.0)
    }
}

/// A ring of the totals of the last steps.
#[derive(Default)]
pub(super) struct Traffic {
    slots: [(u64, Total); MergerConfig::WINDOW_STEPS_MAX],
}

impl Traffic {
    pub(super) fn set(&mut self, step: u64, total: Total) {
        self.slots[(step % MergerConfig::WINDOW_STEPS_MAX as u64) as usize] = (step, total);
    }

    pub(super) fn sum(&self, step: u64, steps: u64) -> Total {
        let mut sum = Total::default();
        for (number, total) in &self.slots {
            if *number <= step && number + steps > step {
                sum.duration_ns += total.duration_ns;
                sum.slice_ns_max = sum.slice_ns_max.max(total.slice_ns_max);
                sum.ops += total.ops;
                sum.bytes_in += total.bytes_in;
                sum.bytes_out += total.bytes_out;
            }
        }
        sum
    }
}
