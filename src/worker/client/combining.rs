//! What of a client is in queues of combined keys, and what it therefore has to wait for.

use super::Client;
use super::session::Replies;
use crate::config::Limits;

impl Client {
    /// Whether everything of this client that was in queues when a key last ceased to be folded is settled.
    pub fn may_pass(&mut self, pass_epoch: u32) -> bool {
        if self.pass_epoch != pass_epoch {
            if self.combined > 0 {
                return false;
            }
            self.pass_epoch = pass_epoch;
        }
        true
    }

    /// Whether everything that this client sent before the newest combined key was one has been answered, and everything
    /// that went past a queue since.
    pub fn may_combine(&mut self, epoch: u32) -> bool {
        if self.combine_epoch != epoch {
            self.combine_epoch = epoch;
            self.combine_after = self.replies.next_sequence();
        }
        self.replies.has_left(self.combine_after)
    }

    /// Until when it may have written keys in write-behind mode beside their homes: before the rules in force were taken over, or as
    /// a home handed something back. All of that has been answered when something more of it is combined, as now.
    pub fn beside_until_ns(&mut self, rules_since_ns: u64, now_ns: u64) -> u64 {
        let is_found = |until_ns: &u64| *until_ns >= rules_since_ns || self.connected_ns >= rules_since_ns;
        let until_ns = self.beside_until_ns.filter(is_found).unwrap_or(now_ns);
        self.beside_until_ns = Some(until_ns);
        until_ns
    }

    /// How many requests equal to one that is combined may go with it.
    pub fn repeats_max(&self, limits: &Limits) -> usize {
        if self.session.replies != Replies::On || self.barrier.is_some() {
            return 0;
        }
        self.window.requests_max(limits).saturating_sub(self.replies.len() + 1)
    }
}
