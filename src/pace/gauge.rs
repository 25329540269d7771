//! The gauge of one connection to a node: how long its round trips take, and whether the node ever caught up.
//!
//! One request at a time is timed: the first of a write, from the write to its reply. That costs one comparison per read of the
//! connection, not one per request.

/// How long a window is.
pub const WINDOW_NS: u64 = 5_000_000;

/// A queue that folding has not ended within this is that of others.
pub(super) const OWN_QUEUE_NS_MAX: u64 = 3_000_000_000;

/// A window of time on one connection. Its shortest round trip shows whether a queue stood all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The shortest round trip, in nanoseconds. One that is not over yet counts as long as it has lasted.
    pub delay_ns: Option<u64>,
    /// The shortest round trip that began with nothing else unanswered.
    pub alone_ns: Option<u64>,
    /// At some look everything that had been written was answered: nothing queued.
    pub caught_up: bool,
}

/// The round trip that is being timed.
#[derive(Clone, Copy, Debug)]
struct Timed {
    /// Which request of the connection it is, from 1.
    request: u64,
    written_ns: u64,
    alone: bool,
}

/// The gauge of one connection. Whoever owns the connection tells it of each write and each look at the replies.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    /// Requests that were written whole.
    written: u64,
    /// The socket took less than was to be written.
    blocked: bool,
    timed: Option<Timed>,
    window: Window,
    window_start_ns: u64,
    /// Windows in a row with a queue.
    standing: u32,
}

impl Gauge {
    /// Forgets what was on a connection that has broken.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Requests were written, so that it has been `requests` in all, or fewer if the socket was full (`blocked`). `answered`
    /// have been answered.
    pub fn on_write(&mut self, now_ns: u64, requests: u64, answered: u64, blocked: bool) {
        self.blocked = blocked;
        if requests > self.written {
            let (request, alone) = (self.written + 1, answered >= self.written);
            self.timed = self.timed.or(Some(Timed { request, written_ns: now_ns, alone }));
            if !blocked {
                self.written = requests;
            }
        }
    }

    /// All replies that had come were read: `answered` requests have been answered in all. Returns the window if it is as long
    /// as `length_ns`, and begins another.
    pub fn on_look(&mut self, now_ns: u64, answered: u64, length_ns: u64) -> Option<Window> {
        self.window.caught_up |= answered >= self.written && !self.blocked;
        if let Some(timed) = self.timed {
            let delay_ns = now_ns.saturating_sub(timed.written_ns);
            if answered >= timed.request {
                self.timed = None;
                shorten(&mut self.window.delay_ns, delay_ns);
                if timed.alone {
                    shorten(&mut self.window.alone_ns, delay_ns);
                }
            }
        }
        if now_ns.saturating_sub(self.window_start_ns) < length_ns {
            return None;
        }
        let mut window = std::mem::take(&mut self.window);
        if let (None, Some(timed)) = (window.delay_ns, self.timed) {
            window.delay_ns = Some(now_ns.saturating_sub(timed.written_ns));
        }
        self.window_start_ns = now_ns;
        Some(window)
    }

    /// Takes note of whether a queue stood in the last window. Returns in how many windows in a row it has.
    pub fn count_standing(&mut self, stood: bool) -> u32 {
        self.standing = if stood { self.standing.saturating_add(1) } else { 0 };
        self.standing
    }
}

fn shorten(shortest_ns: &mut Option<u64>, delay_ns: u64) {
    *shortest_ns = Some(shortest_ns.map_or(delay_ns, |shortest_ns| shortest_ns.min(delay_ns)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH_NS: u64 = 5_000_000;

    #[test]
    fn one_round_trip_at_a_time_is_timed() {
        let mut gauge = Gauge::default();
        gauge.on_write(10, 3, 0, false);
        gauge.on_write(20, 9, 0, false);
        assert_eq!(gauge.on_look(100, 1, LENGTH_NS), None);
        gauge.on_write(200, 10, 1, false);
        let window = gauge.on_look(LENGTH_NS, 9, LENGTH_NS).unwrap();
        assert_eq!(window, Window { delay_ns: Some(90), alone_ns: Some(90), caught_up: false });
        let window = gauge.on_look(2 * LENGTH_NS, 10, LENGTH_NS).unwrap();
        assert_eq!((window.caught_up, window.alone_ns), (true, None));
        assert_eq!(window.delay_ns, Some(2 * LENGTH_NS - 200));
    }

    #[test]
    fn a_round_trip_that_is_not_over_counts_for_as_long_as_it_has_lasted() {
        let mut gauge = Gauge::default();
        gauge.on_write(1_000, 1, 0, false);
        let window = gauge.on_look(LENGTH_NS + 1_000, 0, LENGTH_NS).unwrap();
        assert_eq!(window, Window { delay_ns: Some(LENGTH_NS), alone_ns: None, caught_up: false });
    }

    #[test]
    fn what_the_socket_did_not_take_was_not_caught_up_with() {
        let mut gauge = Gauge::default();
        gauge.on_write(1_000, 7, 0, true);
        let window = gauge.on_look(LENGTH_NS, 0, LENGTH_NS).unwrap();
        assert!(!window.caught_up);
        gauge.on_write(LENGTH_NS, 7, 0, false);
        assert!(gauge.on_look(2 * LENGTH_NS, 7, LENGTH_NS).unwrap().caught_up);
    }

    #[test]
    fn windows_in_a_row_are_counted() {
        let mut gauge = Gauge::default();
        assert_eq!([true, true, false, true].map(|stood| gauge.count_standing(stood)), [1, 2, 0, 1]);
    }
}
