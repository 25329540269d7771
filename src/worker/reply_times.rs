//! How long replies took, gathered so that the data path pays little for it.
//!
//! Replies of one burst often share the ticks in which they were received and sent, so equal ones are counted together and a
//! histogram is touched once for all of them.

use crate::shared::tallies::WorkerTallies;

/// The run of equal times at hand, and the worker's clock with it.
#[derive(Default)]
pub struct ReplyTimes {
    received_ns: u64,
    sent_ns: u64,
    settled_ns: u64,
    count: u64,
}

impl ReplyTimes {
    /// Counts one reply that settled at `now_ns`; moves the run at hand into the tallies when this one belongs to another.
    pub fn add(&mut self, received_ns: u64, sent_ns: u64, now_ns: u64, tallies: &mut WorkerTallies) {
        self.add_many(received_ns, sent_ns, now_ns, 1, tallies);
    }

    /// As [`Self::add`] for so many replies.
    pub fn add_many(
        &mut self,
        received_ns: u64,
        sent_ns: u64,
        now_ns: u64,
        replies: u64,
        tallies: &mut WorkerTallies,
    ) {
        if (self.received_ns, self.sent_ns, self.settled_ns) != (received_ns, sent_ns, now_ns) {
            self.flush(tallies);
            (self.received_ns, self.sent_ns, self.settled_ns) = (received_ns, sent_ns, now_ns);
        }
        self.count += replies;
    }

    /// Moves the run at hand into the tallies.
    pub fn flush(&mut self, tallies: &mut WorkerTallies) {
        if self.count == 0 {
            return;
        }
        let whole_ns = self.settled_ns.saturating_sub(self.received_ns);
        let upstream_ns = self.settled_ns.saturating_sub(self.sent_ns);
        tallies.request_time.record_n(whole_ns, self.count);
        tallies.upstream_time.record_n(upstream_ns, self.count);
        tallies.gateway_time.record_n(whole_ns.saturating_sub(upstream_ns), self.count);
        self.count = 0;
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
            times.add(received_ns, sent_ns, now_ns, &mut tallies);
        }
        times.flush(&mut tallies);
        times.flush(&mut tallies);
        assert_eq!(tallies.request_time.count(), 4);
        assert_eq!(tallies.request_time.sum_ns(), 999 + 999 + 995 + 1995);
        assert_eq!(tallies.upstream_time.sum_ns(), 998 + 998 + 991 + 1991);
    }
}
