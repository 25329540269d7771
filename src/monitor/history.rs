//! The last ten minutes, one point per second. The gateway keeps them, so a page that was just opened shows what led here.

use std::collections::VecDeque;

use super::view::{History, Now};

/// Ten minutes at one point a second: 600 points of 28 bytes.
const POINTS_MAX: usize = 600;
/// Between two points.
pub const STEP_MS: u64 = 1_000;
/// Points longer ago than this many steps are not filled in after a pause of the process; the history starts
/// anew.
const GAP_STEPS_MAX: u64 = 10;

/// A ring of points.
#[derive(Default)]
pub struct Ring {
    points: VecDeque<Point>,
    last_ms: u64,
}

#[derive(Clone, Copy, Default)]
struct Point {
    requests_per_s: f32,
    errors_per_s: f32,
    refused_per_s: f32,
    p50_us: f32,
    p99_us: f32,
    offered_per_s: f32,
    flushed_per_s: f32,
}

impl Ring {
    /// Offers the figures of the second that ends at `at_ms`; a point is taken once in [`STEP_MS`]. Steps
    /// that were missed repeat the point, so that columns stay evenly spaced. Returns whether a point was
    /// taken.
    pub fn offer(&mut self, at_ms: u64, now: &Now) -> bool {
        let steps = at_ms.saturating_sub(self.last_ms) / STEP_MS;
        if steps == 0 {
            return false;
        }
        let point = Point {
            requests_per_s: now.requests_per_s as f32,
            errors_per_s: now.errors_per_s as f32,
            refused_per_s: now.refused_per_s as f32,
            p50_us: now.request_time.p50_us as f32,
            p99_us: now.request_time.p99_us as f32,
            offered_per_s: now.offered_per_s as f32,
            flushed_per_s: now.flushed_per_s as f32,
        };
        let repeated = if steps > GAP_STEPS_MAX {
            self.points.clear();
            self.last_ms = at_ms;
            1
        } else {
            self.last_ms += steps * STEP_MS;
            steps
        };
        for _ in 0..repeated {
            if self.points.len() == POINTS_MAX {
                self.points.pop_front();
            }
            self.points.push_back(point);
        }
        true
    }

    /// All points as columns.
    pub fn columns(&self) -> History {
        let column = |of: fn(&Point) -> f32| self.points.iter().map(of).collect();
        History {
            end_ms: self.last_ms,
            step_ms: STEP_MS,
            requests_per_s: column(|point| point.requests_per_s),
            errors_per_s: column(|point| point.errors_per_s),
            refused_per_s: column(|point| point.refused_per_s),
            p50_us: column(|point| point.p50_us),
            p99_us: column(|point| point.p99_us),
            offered_per_s: column(|point| point.offered_per_s),
            flushed_per_s: column(|point| point.flushed_per_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(requests_per_s: f64) -> Now {
        Now { requests_per_s, ..Now::default() }
    }

    #[test]
    fn one_point_a_second_and_missed_seconds_repeat() {
        let mut ring = Ring::default();
        assert!(ring.offer(1_000_000, &now(1.0)));
        assert!(!ring.offer(1_000_250, &now(9.0)));
        assert!(ring.offer(1_001_010, &now(2.0)));
        assert!(ring.offer(1_004_020, &now(3.0)));
        let columns = ring.columns();
        assert_eq!(columns.requests_per_s, [1.0, 2.0, 3.0, 3.0, 3.0]);
        assert_eq!(columns.end_ms, 1_004_000);
    }

    #[test]
    fn the_ring_is_bounded_and_a_long_pause_starts_it_anew() {
        let mut ring = Ring::default();
        for second in 1..=2_000 {
            ring.offer(second * 1_000, &now(second as f64));
        }
        assert_eq!(ring.columns().p50_us.len(), POINTS_MAX);
        ring.offer(9_000_000, &now(7.0));
        assert_eq!(ring.columns().requests_per_s, [7.0]);
    }
}
