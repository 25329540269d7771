//! An operation goes into the queue of its key, here or at the worker that is the key's home.

use super::HotKeys;
use crate::combine::{Member, Op};
use crate::resp::RespVersion;
use crate::route::KeyId;
use crate::shared::handoff::{Handoff, OwnedOp, Waiter};
use crate::worker::core::Core;
use crate::worker::reply::ReplyBytes;

impl HotKeys {
    /// Takes an operation of one of this worker's clients, or several equal ones, to the home of its key. `written` says that the
    /// client has changed the key beside the queue before.
    pub fn take_operation(&mut self, core: &mut Core, hash: u64, op: Op<'_>, waiter: Waiter, written: bool) {
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        entry.active_ns = core.now_ns;
        entry.unsettled.add(&waiter);
        let version = waiter.version;
        if entry.home == core.index {
            if written {
                self.adopt_written(hash);
            }
            self.push(core, hash, op, waiter, version);
        } else {
            let (home, key, op) = (entry.home, entry.key.clone(), OwnedOp::new(&op));
            let id = KeyId { cluster: entry.place.cluster, hash };
            self.hand_off(home, Handoff { key, id, op, version, waiter, written });
        }
    }

    /// Puts an operation into the queue of a key whose home is here.
    pub(super) fn push(
        &mut self,
        core: &mut Core,
        hash: u64,
        op: Op<'_>,
        waiter: Waiter,
        version: RespVersion,
    ) {
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        entry.active_ns = core.now_ns;
        let held = entry.queue.as_mut().and_then(|home| home.held.as_mut());
        match (op, held) {
            (Op::Increment(delta), Some(_)) => self.push_by_quota(core, hash, delta, waiter, version),
            (op, held) => {
                if let (op, Some(held)) = (op, held)
                    && (op.is_plain_only() || matches!(op, Op::Set(_)))
                {
                    held.admission.on_written();
                }
                self.push_to_queue(hash, op, waiter, version);
            }
        }
    }

    fn push_to_queue(&mut self, hash: u64, op: Op<'_>, waiter: Waiter, version: RespVersion) {
        let Some(home) = self.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut()) else {
            return;
        };
        home.queue.push(op, waiter, version);
        home.waiting_since_ns.get_or_insert(waiter.received_ns);
        if !std::mem::replace(&mut home.dirty, true) {
            self.dirty.push_back(hash);
            self.wake();
        }
    }

    /// Answers increments that the quota of their key decides without Redis. The others go into the queue.
    fn push_by_quota(
        &mut self,
        core: &mut Core,
        hash: u64,
        delta: i64,
        waiter: Waiter,
        version: RespVersion,
    ) {
        let mut place = 0;
        let mut decided = None;
        while place < waiter.operations {
            let home = self.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut());
            let Some(home) = home else { return };
            home.adopt_limits(&self.limits, self.limits_version, core.now_ns);
            let Some(held) = &mut home.held else { return };
            held.count_later(hash, &mut self.board);
            let owed = held.admission.owes();
            // Each is decided by itself, in order. Those that are told the same are answered as one.
            let decision = decided.take().unwrap_or_else(|| held.admission.decide(core.now_ns, delta));
            let mut alike = 1;
            while place + alike < waiter.operations {
                let next = held.admission.decide(core.now_ns, delta);
                if next != decision {
                    decided = Some(next);
                    break;
                }
                alike += 1;
            }
            let mut replies = std::mem::take(&mut self.scratch);
            replies.clear();
            let answered = held.carry_out(decision, version, &mut replies);
            if !owed && held.admission.owes() {
                self.owing_keys.insert(hash);
                self.look_at(core.now_ns, hash);
            }
            let asking = Waiter { operations: alike, ..waiter.one(place) };
            match answered {
                Some(outcome) => {
                    let reply_bytes = replies.len();
                    (1..alike).for_each(|_| replies.extend_from_within(..reply_bytes));
                    self.settle_member(core, hash, asking, ReplyBytes::Borrowed(&replies), outcome);
                }
                None => self.push_to_queue(hash, Op::Increment(delta), asking, version),
            }
            self.scratch = replies;
            place += alike;
        }
    }
}
