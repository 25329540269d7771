//! What upsets the gateway's own threads and clock: a worker that does not come round, a process that stood still, a clock that jumped.
//!
//! Seen from the sampler's ticks alone, so that no worker does anything for it: each worker publishes its tallies ten times a second
//! whatever it does, and whoever does not is held up.

use std::sync::Arc;

use super::clock::Clock;
use crate::shared::tallies::WorkerTallies;

/// For how long a standstill and a jump are told of after they are over.
const RECENT_MS: u64 = 10_000;
/// Ticks that are so far apart were held up.
const STANDSTILL_MS: u64 = 1_500;
/// A worker that has not published for so long is held up.
const LATE_MS: u64 = 1_000;
/// A clock that is off by so much from one tick to the next was set; time servers slew it by less.
const JUMP_MS: u64 = 1_000;

/// What is so now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpsetsView {
    /// Workers that have not come round, by index, and for how long, in milliseconds.
    pub late_workers: Vec<(usize, u64)>,
    /// How long the process stood still a moment ago, in milliseconds.
    pub standstill_ms: Option<u64>,
    /// By how much the system's clock jumped a moment ago, in milliseconds; below 0 it was set back.
    pub jump_ms: Option<i64>,
    /// Standstills since the start.
    pub standstills: u64,
    /// Jumps since the start.
    pub jumps: u64,
    /// For how long each worker has not come round, in milliseconds; below a second that is nothing.
    pub workers_ms: Vec<u64>,
}

/// Since when each worker's tallies are as they are.
struct Published {
    tallies: Arc<WorkerTallies>,
    since_ms: u64,
}

/// See the module.
#[derive(Default)]
pub struct Upsets {
    last: Option<Clock>,
    workers: Vec<Published>,
    /// When, and how long.
    standstill: Option<(u64, u64)>,
    jump: Option<(u64, i64)>,
    standstills: u64,
    jumps: u64,
}

impl Upsets {
    /// Takes the clocks and the tallies of a tick.
    pub fn take(&mut self, clock: Clock, tallies: &[Arc<WorkerTallies>]) -> UpsetsView {
        let now_ms = clock.monotonic_ms;
        let mut stood_still = false;
        if let Some(last) = self.last.replace(clock) {
            let passed_ms = now_ms.saturating_sub(last.monotonic_ms);
            stood_still = passed_ms >= STANDSTILL_MS;
            if stood_still {
                self.standstill = Some((now_ms, passed_ms));
                self.standstills += 1;
            }
            let jump_ms = clock.unix_ms as i64 - last.unix_ms as i64 - passed_ms as i64;
            if jump_ms.unsigned_abs() >= JUMP_MS {
                self.jump = Some((now_ms, jump_ms));
                self.jumps += 1;
            }
        }
        for (place, tallies) in tallies.iter().enumerate() {
            let fresh = Published { tallies: Arc::clone(tallies), since_ms: now_ms };
            match self.workers.get_mut(place) {
                None => self.workers.push(fresh),
                // Whoever stood still with all others is not late alone.
                Some(known) if stood_still || !Arc::ptr_eq(&known.tallies, tallies) => *known = fresh,
                Some(_) => {}
            }
        }
        let recent = |at_ms: u64| now_ms.saturating_sub(at_ms) < RECENT_MS;
        let workers_ms: Vec<u64> = self.workers.iter().map(|worker| now_ms - worker.since_ms).collect();
        let late = workers_ms.iter().copied().enumerate().filter(|(_, ms)| *ms >= LATE_MS);
        UpsetsView {
            late_workers: late.collect(),
            standstill_ms: self.standstill.filter(|(at_ms, _)| recent(*at_ms)).map(|(_, ms)| ms),
            jump_ms: self.jump.filter(|(at_ms, _)| recent(*at_ms)).map(|(_, ms)| ms),
            standstills: self.standstills,
            jumps: self.jumps,
            workers_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_ms: u64, unix_ms: u64) -> Clock {
        Clock { monotonic_ms, unix_ms }
    }

    #[test]
    fn a_worker_that_does_not_publish_is_late_until_it_does() {
        let (one, other) = (Arc::new(WorkerTallies::default()), || Arc::new(WorkerTallies::default()));
        let mut upsets = Upsets::default();
        for tick in 0..4 {
            let seen = upsets.take(at(tick * 250, tick * 250), &[other(), Arc::clone(&one)]);
            assert_eq!(seen.late_workers, []);
        }
        let seen = upsets.take(at(1_000, 1_000), &[other(), Arc::clone(&one)]);
        assert_eq!(seen.late_workers, [(1, 1_000)]);
        assert_eq!(upsets.take(at(1_250, 1_250), &[other(), other()]).late_workers, []);
    }

    #[test]
    fn a_standstill_is_of_all_and_is_told_of_for_a_while() {
        let tallies = Arc::new(WorkerTallies::default());
        let mut upsets = Upsets::default();
        upsets.take(at(0, 0), &[Arc::clone(&tallies)]);
        let seen = upsets.take(at(3_000, 3_000), &[Arc::clone(&tallies)]);
        assert_eq!((seen.standstill_ms, seen.jump_ms, seen.standstills), (Some(3_000), None, 1));
        assert_eq!(seen.late_workers, []);
        let mut seen = UpsetsView::default();
        for tick in 1..=40 {
            seen = upsets.take(at(3_000 + tick * 250, 3_000 + tick * 250), &[]);
            assert_eq!(seen.standstill_ms.is_some(), tick < 40);
        }
        assert_eq!(seen.standstills, 1);
    }

    #[test]
    fn a_clock_that_is_set_has_jumped() {
        for (unix_ms, jump_ms) in [(3_600_250, Some(3_600_000)), (1_200, None), (90_250, Some(90_000))] {
            let mut upsets = Upsets::default();
            upsets.take(at(0, 0), &[]);
            assert_eq!(upsets.take(at(250, unix_ms), &[]).jump_ms, jump_ms);
        }
        let mut upsets = Upsets::default();
        upsets.take(at(0, 100_000), &[]);
        assert_eq!(upsets.take(at(250, 40_250), &[]).jump_ms, Some(-60_000));
    }
}
