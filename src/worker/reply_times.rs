//! How long requests and replies took, gathered so that the data path pays little for it.
//!
//! Three times are told apart. The *whole* time of a client's request goes from its last byte to its queued reply. The *upstream* time
//! of a request goes from when it began to be written to a node to its whole reply; flushes have one, and what is folded in
//! them or refused here has none. What the *gateway* adds is what is left of the whole time.
//!
//! Replies of one burst often share the ticks in which they were received and sent, and their command, so equal ones are counted together
//! and a histogram is touched once for all of them. So are the figures by command, which therefore cost a comparison for each request.

use crate::shared::command_tallies::CommandRow;
use crate::shared::tallies::WorkerTallies;
use crate::shared::topology::NodeIndex;

/// What is known of equal replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The whole time, if a client's request was answered.
    whole_ns: Option<u64>,
    /// How much of it Redis took.
    upstream_ns: u64,
    /// Whether this very request was written to a node.
    written: bool,
}

/// Whose figures by command replies belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// The command.
    pub command: CommandRow,
    /// The request is whole, and was run. One part of several counts for its node only.
    pub is_call: bool,
    /// The node that it was written to, as it came.
    pub node: Option<NodeIndex>,
}

impl Times {
    /// A client's request was sent at `sent_ns` and is answered at `now_ns`.
    #[inline]
    pub fn forwarded(received_ns: u64, sent_ns: u64, now_ns: u64) -> Self {
        let (whole_ns, upstream_ns) = (now_ns.saturating_sub(received_ns), now_ns.saturating_sub(sent_ns));
        Self { whole_ns: Some(whole_ns), upstream_ns: upstream_ns.min(whole_ns), written: true }
    }

    /// A request of the gateway's own was sent at `sent_ns` and is answered at `now_ns`.
    pub fn own(sent_ns: u64, now_ns: u64) -> Self {
        Self { whole_ns: None, upstream_ns: now_ns.saturating_sub(sent_ns), written: true }
    }

    /// A client's request is answered without having been written itself. Of the time since it came Redis took `upstream_ns` with what
    /// it was folded into.
    pub fn folded(received_ns: u64, upstream_ns: u64, now_ns: u64) -> Self {
        let whole_ns = now_ns.saturating_sub(received_ns);
        Self { whole_ns: Some(whole_ns), upstream_ns: upstream_ns.min(whole_ns), written: false }
    }
}

/// The run of equal times at hand.
#[derive(Default)]
pub struct ReplyTimes {
    times: Times,
    called: Option<Called>,
    count: u64,
}

impl ReplyTimes {
    /// So many requests took so long.
    #[inline]
    pub fn add(&mut self, times: Times, called: Option<Called>, count: u64, tallies: &mut WorkerTallies) {
        if (self.times, self.called) != (times, called) {
            self.flush(tallies);
            (self.times, self.called) = (times, called);
        }
        self.count += count;
    }

    /// Moves the run at hand into the tallies.
    pub fn flush(&mut self, tallies: &mut WorkerTallies) {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return;
        }
        let Times { whole_ns, upstream_ns, written } = self.times;
        if let Some(whole_ns) = whole_ns {
            tallies.request_time.record_n(whole_ns, count);
            tallies.gateway_time.record_n(whole_ns.saturating_sub(upstream_ns), count);
        }
        if written {
            tallies.upstream_time.record_n(upstream_ns, count);
        }
        if let Some(called) = self.called {
            count_called(called, Some(self.times), count, tallies);
        }
    }
}

/// Counts requests by command, with the time that each took where that is told.
pub fn count_called(called: Called, times: Option<Times>, count: u64, tallies: &mut WorkerTallies) {
    let Called { command, is_call, node } = called;
    if let Some(node) = node {
        let row = tallies.node(node.position()).commands.row(command);
        row.calls += count;
        row.sum_ns = row.sum_ns.wrapping_add(times.map_or(0, |times| times.upstream_ns).wrapping_mul(count));
    }
    if !is_call {
        return;
    }
    let row = tallies.commands.commands.row(command);
    row.calls += count;
    if let Some(Times { whole_ns: Some(whole_ns), upstream_ns, .. }) = times {
        row.whole.record_n(whole_ns, count);
        row.gateway.record_n(whole_ns.saturating_sub(upstream_ns), count);
        // A copy, and what write-behind answers, takes Redis no time.
        if upstream_ns > 0 {
            row.redis.record_n(upstream_ns, count);
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
            times.add(Times::forwarded(received_ns, sent_ns, now_ns), None, 1, &mut tallies);
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
        times.add(Times::own(400, 1000), None, 1, &mut tallies);
        times.add(Times::folded(100, 600, 1000), None, 50, &mut tallies);
        // It came while the read was under way that it shares.
        times.add(Times::folded(900, 600, 1000), None, 1, &mut tallies);
        // It was refused here.
        times.add(Times::folded(1000, 0, 1000), None, 7, &mut tallies);
        times.flush(&mut tallies);
        assert_eq!((tallies.upstream_time.count(), tallies.upstream_time.sum_ns()), (1, 600));
        assert_eq!((tallies.request_time.count(), tallies.request_time.sum_ns()), (58, 50 * 900 + 100));
        assert_eq!((tallies.gateway_time.count(), tallies.gateway_time.sum_ns()), (58, 50 * 300));
    }

    #[test]
    fn a_run_ends_where_the_command_or_the_node_is_another() {
        let mut tallies = WorkerTallies::default();
        let mut times = ReplyTimes::default();
        let command = CommandRow::UNKNOWN;
        let took = Times::forwarded(1_000, 2_000, 5_000);
        let whole = |node| Some(Called { command, is_call: true, node: Some(NodeIndex(node)) });
        let part = Some(Called { command, is_call: false, node: Some(NodeIndex(1)) });
        for called in [whole(0), whole(0), whole(1), part, None] {
            times.add(took, called, 1, &mut tallies);
        }
        times.flush(&mut tallies);
        let row = tallies.commands.commands.row(command);
        assert_eq!(
            (row.calls, row.whole.sum_ns(), row.redis.sum_ns(), row.gateway.sum_ns()),
            (3, 12_000, 9_000, 3_000)
        );
        let at = |tallies: &mut WorkerTallies, node| *tallies.node(node).commands.row(command);
        assert_eq!((at(&mut tallies, 0).calls, at(&mut tallies, 0).sum_ns), (2, 6_000));
        assert_eq!(at(&mut tallies, 1).calls, 2, "one of them a part");
        assert_eq!(tallies.request_time.count(), 5);
    }
}
