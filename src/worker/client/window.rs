//! How many requests of one client may be under way.
//!
//! What Redis answers cannot be held back at its source, since others share the connection. So what is bounded is what is
//! asked for: as many requests as their replies are likely to fit into the client's part of its output bound, by the size of
//! the replies before. As with the congestion window of TCP (RFC 5681, slow start, and RFC 7661 for a window that is not
//! used) little is known of a client that begins, or that begins to do something else: a first burst is small, each reply
//! lets one more request go, and what a client did not need for its last burst it has to earn again. With the first large
//! reply, as soon as its length is known, the window is what fits of that size. What was asked before is under way then and
//! piles up if it has to: a client is not closed for what it asked.

use crate::config::Limits;
use crate::limits::{OUTPUT_SHARE_SERVED, WINDOW_REQUESTS_MIN};

/// After a large reply, each that is smaller takes one part in so many off what is expected of the next: a hundred small ones
/// between bursts of large ones halve it, and a client that goes on with small ones is as fast as before after a few hundred.
const REPLY_FADE: usize = 128;

/// The window of one client.
#[derive(Debug)]
pub struct Window {
    /// What it has earned, in requests.
    earned: usize,
    /// The most that were unanswered at a time since it was at rest.
    used: usize,
    /// The size of a large reply that has come not long ago, in bytes; it fades with each smaller one.
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
        // Up at once and down slowly: too small a window costs a round trip, too large a one memory.
        let each = bytes / replies.max(1);
        self.reply_bytes = match each > self.reply_bytes {
            true => each,
            false => self.reply_bytes - (self.reply_bytes - each) / REPLY_FADE,
        };
    }

    /// A reply of at least so many bytes is on its way: nothing more goes than fits beside it.
    pub fn announced(&mut self, bytes: usize) {
        self.reply_bytes = self.reply_bytes.max(bytes);
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
        for large in [Window::announced, |window: &mut Window, bytes| window.settled(1, bytes, 9, false)] {
            large(&mut window, 1_000_000);
            assert_eq!(window.requests_max(&limits), fitting);
            // They stay few over some small ones, and not for long.
            (0..100).for_each(|_| window.settled(1, 5, 9, false));
            assert!((fitting..=3 * fitting).contains(&window.requests_max(&limits)));
            (0..300).for_each(|_| window.settled(1, 5, 9, false));
            assert!(window.requests_max(&limits) > 64);
        }
        // What is not used is lost.
        window.settled(1, 5, 1, true);
        window.settled(1, 5, 1, true);
        assert_eq!(window.requests_max(&limits), WINDOW_REQUESTS_MIN);
        // One reply that is larger than all of it still lets one go.
        (0..20).for_each(|_| window.settled(1, usize::MAX, 1, true));
        assert_eq!(window.requests_max(&limits), 1);
    }
}
