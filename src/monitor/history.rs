//! The last ten minutes with one point per second, and the last day with one per minute. The gateway keeps them, so a page that was just opened
//! shows what led here.
//!
//! A time of which nothing is known, as between two processes, is a gap (`null` in JSON) and no guess. A point of a minute is made of
//! the whole minute, its quantiles too, and not of its seconds.

use std::collections::VecDeque;
use std::sync::Arc;

use super::clock::Clock;
use super::figures;
use super::merged::Merged;
use super::view::{History, Now};
use super::window::Window;
use crate::shared::history::{FIGURES, Point, Step};

/// Steps that were missed repeat the point, so that columns stay evenly spaced; of more nothing is known.
const GAP_STEPS_MAX: u64 = 10;

/// The figures of the gateway's own points.
const OF_GATEWAY: usize = FIGURES.len();

/// A ring of points of so many figures, evenly spaced.
pub struct Ring<const N: usize = OF_GATEWAY> {
    step: Step,
    points: VecDeque<[f32; N]>,
    last_ms: u64,
    /// The last point is of a former process: nothing is known since.
    is_former: bool,
}

impl Ring {
    /// A ring that goes on behind these points of former processes, the oldest first. What is older than a ring holds, or of a time to come, is
    /// left out.
    pub fn new(step: Step, former: &[Point], unix_ms: u64) -> Self {
        let mut ring = Self::empty(step);
        let oldest_ms = unix_ms.saturating_sub(step.ms() * step.points_max() as u64);
        let shown = |point: &&Point| point.step == step && (oldest_ms..=unix_ms).contains(&point.at_ms);
        for point in former.iter().filter(shown) {
            ring.add(point.at_ms, point.figures);
            ring.is_former = true;
        }
        ring
    }

    /// Adds the figures of the step that ended at `at_ms`; one is taken once in a step. Returns the point, if it was taken.
    pub fn offer(&mut self, at_ms: u64, now: &Now) -> Option<Point> {
        let figures = [
            now.requests_per_s,
            now.errors_per_s,
            now.refused_per_s,
            now.request_time.p50_us,
            now.request_time.p99_us,
            now.offered_per_s,
            now.flushed_per_s,
        ];
        let figures = figures.map(|figure| figure as f32);
        self.add(at_ms, figures).then_some(Point { step: self.step, at_ms: self.last_ms, figures })
    }

    /// All points as columns.
    pub fn columns(&self) -> History {
        let column = |place: usize| self.column(place);
        History {
            end_ms: self.last_ms,
            step_ms: self.step.ms(),
            requests_per_s: column(0),
            errors_per_s: column(1),
            refused_per_s: column(2),
            p50_us: column(3),
            p99_us: column(4),
            offered_per_s: column(5),
            flushed_per_s: column(6),
        }
    }
}

impl<const N: usize> Ring<N> {
    /// A ring without points.
    pub fn empty(step: Step) -> Self {
        Self { step, points: VecDeque::new(), last_ms: 0, is_former: true }
    }

    /// When the last point ended.
    pub fn end_ms(&self) -> u64 {
        self.last_ms
    }

    /// One of the figures, the oldest first.
    pub fn column(&self, place: usize) -> Vec<f32> {
        self.points.iter().map(|figures| figures[place]).collect()
    }

    /// Adds the figures of the step that ended at `at_ms`, once in a step. Returns whether they were taken.
    pub fn add(&mut self, at_ms: u64, figures: [f32; N]) -> bool {
        let step_ms = self.step.ms();
        if at_ms + GAP_STEPS_MAX * step_ms < self.last_ms {
            // The clock was set back.
            self.points.clear();
        }
        if self.points.is_empty() {
            self.last_ms = at_ms - step_ms.min(at_ms);
        }
        let steps = at_ms.saturating_sub(self.last_ms) / step_ms;
        if steps == 0 {
            return false;
        }
        let between = if self.is_former || steps > GAP_STEPS_MAX { [f32::NAN; N] } else { figures };
        for _ in 1..steps.min(self.step.points_max() as u64) {
            self.push(between);
        }
        self.push(figures);
        self.last_ms += steps * step_ms;
        self.is_former = false;
        true
    }

    fn push(&mut self, figures: [f32; N]) {
        if self.points.len() == self.step.points_max() {
            self.points.pop_front();
        }
        self.points.push_back(figures);
    }
}

/// The minutes: the ring, and where the running minute began.
pub struct Minutes {
    ring: Ring,
    began: Option<Beginning>,
    /// The columns, made anew once a minute.
    columns: Arc<History>,
}

struct Beginning {
    minute: u64,
    monotonic_ms: u64,
    merged: Arc<Merged>,
}

impl Minutes {
    /// Goes on behind these points of former processes.
    pub fn new(former: &[Point], unix_ms: u64) -> Self {
        let ring = Ring::new(Step::Minute, former, unix_ms);
        let columns = Arc::new(ring.columns());
        Self { ring, began: None, columns }
    }

    /// Takes a snapshot. When a minute of the clock is over, its point is made, and returned.
    pub fn offer(&mut self, clock: Clock, merged: &Arc<Merged>) -> Option<Point> {
        let minute = clock.unix_ms / Step::Minute.ms();
        let Clock { monotonic_ms, .. } = clock;
        let begins = || Beginning { minute, monotonic_ms, merged: Arc::clone(merged) };
        let began = self.began.get_or_insert_with(begins);
        if began.minute == minute {
            return None;
        }
        let seconds = monotonic_ms.saturating_sub(began.monotonic_ms).max(1) as f64 / 1000.0;
        let now = figures::now(&Window { base: &began.merged, seconds }, merged);
        *began = begins();
        let point = self.ring.offer(minute * Step::Minute.ms(), &now)?;
        self.columns = Arc::new(self.ring.columns());
        Some(point)
    }

    /// The last day.
    pub fn columns(&self) -> Arc<History> {
        Arc::clone(&self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(requests_per_s: f64) -> Now {
        Now { requests_per_s, ..Now::default() }
    }

    fn seconds(former: &[Point], unix_ms: u64) -> Ring {
        Ring::new(Step::Second, former, unix_ms)
    }

    /// The rates, with gaps as -1.
    fn rates(ring: &Ring) -> Vec<f32> {
        ring.columns().requests_per_s.iter().map(|rate| if rate.is_nan() { -1.0 } else { *rate }).collect()
    }

    #[test]
    fn one_point_a_second_and_missed_seconds_repeat() {
        let mut ring = seconds(&[], 0);
        let first = ring.offer(1_000_000, &now(1.0)).unwrap();
        assert_eq!((first.at_ms, first.figures[0]), (1_000_000, 1.0));
        assert!(ring.offer(1_000_250, &now(9.0)).is_none());
        assert!(ring.offer(1_001_010, &now(2.0)).is_some());
        assert!(ring.offer(1_004_020, &now(3.0)).is_some());
        assert_eq!(rates(&ring), [1.0, 2.0, 3.0, 3.0, 3.0]);
        assert_eq!(ring.columns().end_ms, 1_004_000);
    }

    #[test]
    fn the_ring_is_bounded_and_a_long_pause_is_a_gap() {
        let mut ring = seconds(&[], 0);
        for second in 1..=2_000 {
            ring.offer(second * 1_000, &now(second as f64));
        }
        assert_eq!(ring.columns().p50_us.len(), 600);
        ring.offer(2_020_000, &now(7.0));
        let rates = rates(&ring);
        assert_eq!(rates.len(), 600);
        assert_eq!((rates[579], rates[580], rates[598], rates[599]), (2000.0, -1.0, -1.0, 7.0));
        ring.offer(9_000_000, &now(8.0));
        assert_eq!(ring.columns().requests_per_s.iter().filter(|rate| rate.is_nan()).count(), 599);
    }

    #[test]
    fn a_clock_that_is_set_back_starts_it_anew() {
        let mut ring = seconds(&[], 0);
        ring.offer(5_000_000, &now(1.0));
        assert!(ring.offer(4_999_000, &now(2.0)).is_none(), "a little is waited for");
        assert!(ring.offer(1_000_000, &now(3.0)).is_some());
        assert_eq!(rates(&ring), [3.0]);
    }

    #[test]
    fn it_goes_on_behind_what_former_processes_left() {
        let point = |step, at_ms| Point { step, at_ms, figures: [5.0; FIGURES.len()] };
        let former = [
            point(Step::Second, 100_000),
            point(Step::Minute, 960_000),
            point(Step::Second, 995_000),
            point(Step::Second, 996_000),
            point(Step::Second, 2_000_000),
        ];
        let mut ring = seconds(&former, 1_000_000);
        assert_eq!(rates(&ring), [5.0, 5.0]);
        ring.offer(1_000_000, &now(6.0));
        assert_eq!(rates(&ring), [5.0, 5.0, -1.0, -1.0, -1.0, 6.0]);
        ring.offer(1_002_000, &now(7.0));
        assert_eq!(rates(&ring)[6..], [7.0, 7.0], "its own are repeated");
    }

    #[test]
    fn a_minute_is_made_of_all_of_it() {
        let mut minutes = Minutes::new(&[], 0);
        let merged = |requests: u64| {
            let mut merged = Merged::default();
            merged.all.requests[0][0] = requests;
            Arc::new(merged)
        };
        let clock = |ms: u64| Clock { monotonic_ms: ms, unix_ms: 6_000_000 + ms };
        assert!(minutes.offer(clock(30_000), &merged(100)).is_none());
        assert!(minutes.offer(clock(45_000), &merged(5_000)).is_none());
        let point = minutes.offer(clock(60_000), &merged(3_100)).unwrap();
        assert_eq!((point.at_ms, point.figures[0]), (6_060_000, 100.0), "3,000 requests in 30 seconds");
        assert!(minutes.offer(clock(119_000), &merged(3_100)).is_none());
        let point = minutes.offer(clock(120_500), &merged(9_150)).unwrap();
        assert_eq!((point.at_ms, point.figures[0]), (6_120_000, 100.0));
        assert_eq!(minutes.columns().requests_per_s, [100.0, 100.0]);
    }
}
