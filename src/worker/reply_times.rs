//! How long requests and replies took, gathered so that the data path pays little for it.
//!
//! Three times are told apart. The *whole* time of a client's request goes from its last byte to its queued reply. The *upstream* time
//! of a request goes from when it began to be written to a node to its whole reply; flushes have one, and what is folded in
//! them or refused here has none. What the *gateway* adds is what is left of the whole time.
//!
//! Replies of one burst often share the ticks in which they were received and sent, so equal ones are counted together and a
//! histogram is touched once for all of them.

use crate::shared::tallies::WorkerTallies;

/// What is known of equal replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    /// The whole time, if a client's request was answered.
    whole_ns: Option<u64>,
    /// How much of it Redis took.
    upstream_ns: u64,
    /// Whether this very request was written to a node.
    written: bool,
}

/// The run of equal times at hand.
#[derive(Default)]
pub struct ReplyTimes {
    times: Times,
    count: u64,
}

impl ReplyTimes {
    /// A client's request was sent at `sent_ns` and is answered at `now_ns`.
    pub fn add_forwarded(
        &mut self,
        received_ns: u64,
        sent_ns: u64,
        now_ns: u64,
        tallies: &mut WorkerTallies,
    ) {
        let (whole_ns, upstream_ns) = (now_ns.saturating_sub(received_ns), now_ns.saturating_sub(sent_ns));
        let times = Times { whole_ns: Some(whole_ns), upstream_ns: upstream_ns.min(whole_ns), written: true };
        self.add(times, 1, tallies);
    }

    /// A request of the gateway's own was sent at `sent_ns` and is answered at `now_ns`.
    pub fn add_own(&mut self, sent_ns: u64, now_ns: u64, tallies: &mut WorkerTallies) {
        self.add(
            Times { whole_ns: None, upstream_ns: now_ns.saturating_sub(sent_ns), written: true },
            1,
            tallies,
        );
    }

    /// So many requests of clients that were received at the same time are answered without having been written themselves. Of
    /// the time since then Redis took `upstream_ns` with what they were folded into.
    pub fn add_folded(
        &mut self,
        received_ns: u64,
        upstream_ns: u64,
        now_ns: u64,
        requests: u64,
        tallies: &mut WorkerTallies,
    ) {
        let whole_ns = now_ns.saturating_sub(received_ns);
        let times =
            Times { whole_ns: Some(whole_ns), upstream_ns: upstream_ns.min(whole_ns), written: false };
        self.add(times, requests, tallies);
    }

    #[inline]
    fn add(&mut self, times: Times, count: u64, tallies: &mut WorkerTallies) {
        if self.times != times {
            self.flush(tallies);
            self.times = times;
        }
        self.count += count;
    }

    /// Moves the run at hand into the tallies.
    pub fn flush(&mut self, tallies: &mut WorkerTallies) {
        let (count, Times { whole_ns, upstream_ns, written }) = (std::mem::take(&mut self.count), self.times);
        if count == 0 {
            return;
        }
        if let Some(whole_ns) = whole_ns {
            tallies.request_time.record_n(whole_ns, count);
            tallies.gateway_time.record_n(whole_ns.saturating_sub(upstream_ns), count);
        }
        if written {
            tallies.upstream_time.record_n(upstream_ns, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_is_counted_once() {
        let mut tallies = WorkerTallies::default();
        let mut times = ReplyTimes::default();
        for (received_ns, sent_ns, now_ns) in [(1, 2, 1000), (1, 2, 1000), (5, 9, 1000), (5, 9, 2000)] {
            times.add_forwarded(received_ns, sent_ns, now_ns, &mut tallies);
        }
        times.flush(&mut tallies);
        times.flush(&mut tallies);
        assert_eq!(tallies.request_time.count(), 4);
        assert_eq!(tallies.request_time.sum_ns(), 999 + 999 + 995 + 1995);
        assert_eq!(tallies.upstream_time.sum_ns(), 998 + 998 + 991 + 1991);
        assert_eq!(tallies.gateway_time.sum_ns(), 1 + 1 + 4 + 4);
    }

    #[test]
    fn what_is_folded_has_no_upstream_time_and_a_flush_nothing_else() {
        let mut tallies = WorkerTallies::default();
        let mut times = ReplyTimes::default();
        times.add_own(400, 1000, &mut tallies);
        times.add_folded(100, 600, 1000, 50, &mut tallies);
        // It came while the read was under way that it shares.
        times.add_folded(900, 600, 1000, 1, &mut tallies);
        // It was refused here.
        times.add_folded(1000, 0, 1000, 7, &mut tallies);
        times.flush(&mut tallies);
        assert_eq!((tallies.upstream_time.count(), tallies.upstream_time.sum_ns()), (1, 600));
        assert_eq!((tallies.request_time.count(), tallies.request_time.sum_ns()), (58, 50 * 900 + 100));
        assert_eq!((tallies.gateway_time.count(), tallies.gateway_time.sum_ns()), (58, 50 * 300));
    }
}
