//! How many requests of one client may be under way.
//!
//! What Redis answers cannot be held back at its source, since others share the connection. So what is bounded is what is
//! asked for: as many requests as their replies are likely to fit into the client's part of its output bound, by the size of
//! the replies before. As with the congestion window of TCP (RFC 5681, slow start, and RFC 7661 for a window that is not
//! used) little is known of a client that begins, or that begins to do something else: a first burst is small, each reply
//! lets one more request go, and what a client did not need for its last burst it has to earn again.

use crate::config::Limits;
use crate::limits::{OUTPUT_SHARE_SERVED, WINDOW_REQUESTS_MIN};

/// The window of one client.
#[derive(Debug)]
pub struct Window {
    /// What it has earned, in requests.
    earned: usize,
    /// The most that were unanswered at a time since it was at rest.
    used: usize,
    /// A moving average of its replies, in bytes.
    reply_bytes: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { earned: WINDOW_REQUESTS_MIN, used: 0, reply_bytes: 0 }
    }
}

impl Window {
    /// How many requests may be unanswered at a time; at least one.
    #[inline]
    pub fn requests_max(&self, limits: &Limits) -> usize {
        let served_bytes = limits.client_output_buffer_max / OUTPUT_SHARE_SERVED;
        let likely = served_bytes.checked_div(self.reply_bytes).unwrap_or(usize::MAX).max(1);
        limits.client_inflight_max.min(self.earned).min(likely)
    }

    /// So many replies have come, of so many bytes together. `unanswered` were so many requests before; `at_rest` when none is
    /// now, and none waits to go.
    #[inline]
    pub fn settled(&mut self, replies: u32, bytes: usize, unanswered: usize, at_rest: bool) {
        let replies = replies as usize;
        self.earned = self.earned.saturating_add(replies);
        self.used = self.used.max(unanswered);
        if at_rest {
            self.earned = self.earned.min(2 * self.used).max(WINDOW_REQUESTS_MIN);
            self.used = 0;
        }
        // Up at once and down slowly: too small a window costs a round trip, too large a one the connection.
        let each = bytes / replies.max(1);
        self.reply_bytes = match each > self.reply_bytes {
            true => each.midpoint(self.reply_bytes),
            false => self.reply_bytes - (self.reply_bytes - each) / 8,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_client_gets_as_much_as_its_replies_let_it_have() {
        let limits = Config::default().limits;
        let mut window = Window::default();
        assert_eq!(window.requests_max(&limits), WINDOW_REQUESTS_MIN);
        // Bursts of 64 small ones: as many go at a time after a few round trips, and no less from burst to burst.
        for burst in 0..10 {
            let mut left = 64;
            let mut round_trips = 0;
            while left > 0 {
                let sent = left.min(window.requests_max(&limits));
                (0..sent).for_each(|place| window.settled(1, 5, sent - place, left == place + 1));
                left -= sent;
                round_trips += 1;
            }
            assert!(round_trips <= [4, 2].get(burst).copied().unwrap_or(1), "{round_trips} in burst {burst}");
        }
        // Then large ones: no more than fit.
        let fitting = limits.client_output_buffer_max / OUTPUT_SHARE_SERVED / 1_000_000;
        (0..8).for_each(|_| window.settled(1, 1_000_000, 9, false));
        assert!((fitting..=fitting + 1).contains(&window.requests_max(&limits)));
        (0..200).for_each(|_| window.settled(1, 5, 9, false));
        assert!(window.requests_max(&limits) > 64);
        // What is not used is lost.
        window.settled(1, 5, 1, true);
        window.settled(1, 5, 1, true);
        assert_eq!(window.requests_max(&limits), WINDOW_REQUESTS_MIN);
        // One reply that is larger than all of it still lets one go.
        (0..20).for_each(|_| window.settled(1, usize::MAX, 1, true));
        assert_eq!(window.requests_max(&limits), 1);
    }
}
