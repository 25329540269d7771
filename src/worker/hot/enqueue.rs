//! An operation goes into the queue of its key, here or at the worker that is the key's home.

use crate::combine::{Member, Op, Verb};
use crate::resp::{RespVersion, encode};
use crate::shared::handoff::{Handoff, OwnedOp, Waiter};
use crate::shared::labels::{ErrorKind, Outcome};
use crate::worker::names::ClientKey;
use crate::worker::owners::Worker;
use crate::worker::reply::ReplyBytes;

impl Worker {
    /// Takes an operation of one of this worker's clients, or so many equal ones, which may be combined now.
    pub fn enqueue(&mut self, client_key: ClientKey, hash: u64, (op, verb): (Op<'_>, Verb), operations: u32) {
        let Some(client) = self.clients.all.get_mut(client_key) else { return };
        let Some(entry) = self.hot.entries.get_mut(&hash) else { return };
        entry.active_ns = self.core.now_ns;
        entry.unsettled += operations;
        client.combined += operations;
        let written = matches!(op, Op::Increment(_)) && client.written.take(hash);
        let sequence = match operations {
            1 => {
                let muted = client.take_suppressed();
                client.replies.push_waiting(muted)
            }
            _ => client.replies.push_waiting_run(operations),
        };
        let version = client.session.version;
        let waiter = Waiter {
            client: client_key.to_number(),
            sequence,
            operations,
            worker: self.core.index as u16,
            received_ns: self.core.now_ns,
            delta: if let Op::Increment(delta) = op { delta } else { 0 },
            verb,
            version,
        };
        if entry.home == self.core.index {
            if written {
                self.adopt_written(hash);
            }
            self.push(hash, op, waiter, version);
        } else {
            let (home, key, op) = (entry.home, entry.key.clone(), OwnedOp::new(&op));
            self.hand_off(home, Handoff { key, hash, op, version, waiter, written });
        }
    }

    /// Puts an operation into the queue of a key whose home is here.
    pub(super) fn push(&mut self, hash: u64, op: Op<'_>, waiter: Waiter, version: RespVersion) {
        let Some(entry) = self.hot.entries.get_mut(&hash) else { return };
        entry.active_ns = self.core.now_ns;
        let held = entry.queue.as_mut().and_then(|home| home.held.as_mut());
        match (op, held) {
            (Op::Increment(delta), Some(_)) => self.push_by_quota(hash, delta, waiter, version),
            (op, held) => {
                if let (Op::Set(_), Some(held)) = (op, held) {
                    held.admission.on_written();
                }
                self.push_to_queue(hash, op, waiter, version);
            }
        }
    }

    fn push_to_queue(&mut self, hash: u64, op: Op<'_>, waiter: Waiter, version: RespVersion) {
        let Some(home) = self.hot.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut()) else {
            return;
        };
        if home.queue.push(op, waiter, version).is_err() {
            let mut reply = Vec::new();
            encode::error(
                &mut reply,
                "ERR hotgate: combine.pending_max operations, or 64 MiB of values, wait for this key already; the command was not sent, try again",
            );
            for place in 0..waiter.operations {
                self.core.tallies.error(ErrorKind::Overload);
                self.settle_member(hash, waiter.one(place), ReplyBytes::Borrowed(&reply), Outcome::Failed);
            }
            return;
        }
        if home.waiting_since_ns == 0 {
            home.waiting_since_ns = waiter.received_ns;
        }
        if !std::mem::replace(&mut home.dirty, true) {
            self.hot.dirty.push_back(hash);
            self.hot.wake();
        }
    }

    /// Answers increments that the quota of their key decides without Redis. The others go into the queue.
    fn push_by_quota(&mut self, hash: u64, delta: i64, waiter: Waiter, version: RespVersion) {
        let mut place = 0;
        let mut decided = None;
        while place < waiter.operations {
            let home = self.hot.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut());
            let Some(home) = home else { return };
            home.adopt_limits(&self.hot.limits, self.hot.limits_version, self.core.now_ns);
            let Some(held) = &mut home.held else { return };
            held.count_later(hash, &mut self.hot.board);
            let owed = held.admission.owes();
            // Each is decided by itself, in order. Those that are told the same are answered as one.
            let decision = decided.take().unwrap_or_else(|| held.admission.decide(self.core.now_ns, delta));
            let mut alike = 1;
            while place + alike < waiter.operations {
                let next = held.admission.decide(self.core.now_ns, delta);
                if next != decision {
                    decided = Some(next);
                    break;
                }
                alike += 1;
            }
            let mut replies = std::mem::take(&mut self.hot.scratch);
            replies.clear();
            let answered = held.carry_out(decision, version, &mut replies);
            if !owed && held.admission.owes() {
                self.hot.debtors.insert(hash);
                self.hot.look_at(self.core.now_ns, hash);
            }
            let asking = Waiter { operations: alike, ..waiter.one(place) };
            match answered {
                Some(outcome) => {
                    let reply_bytes = replies.len();
                    (1..alike).for_each(|_| replies.extend_from_within(..reply_bytes));
                    self.settle_member(hash, asking, ReplyBytes::Borrowed(&replies), outcome);
                }
                None => self.push_to_queue(hash, Op::Increment(delta), asking, version),
            }
            self.hot.scratch = replies;
            place += alike;
        }
    }
}
