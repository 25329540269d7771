//! Debts: what `on_unavailable = "allow"` let through has to be added without a clamp, so it may not share a flush with what
//! is clamped.
//!
//! It goes through a queue of its own beside the key's: an entry under the complement of the key's hash, with tokens of its
//! own, which the pump treats as any other. How much is owed, and when it is to be paid, the admission knows.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::{Entry, Home};
use crate::combine::{Clamp, OUTCOME_UNKNOWN, Op};
use crate::resp::{RespVersion, first_error, parse_integer_reply};
use crate::shared::handoff::Waiter;
use crate::shared::keyed::RowId;
use crate::worker::state::State;

/// Stands for a worker in the waiter of a debt: nobody is answered, and the admission is told. Workers are far fewer.
pub(super) const DEBT_WORKER: u16 = u16::MAX;

/// How the errors begin that an increment gets for what its key holds, however often it is tried. All others pass, or are an
/// operator's to repair.
const ERRORS_FOR_GOOD: [&[u8]; 3] = [
    b"WRONGTYPE ",
    b"ERR value is not an integer or out of range",
    b"ERR increment or decrement would overflow",
];

fn is_for_good(error: &[u8]) -> bool {
    ERRORS_FOR_GOOD.iter().any(|beginning| error.starts_with(beginning))
}

impl State {
    /// Adds what was let through unchecked, if it is time to try; otherwise sees to it that it is looked at again. What is on
    /// its way needs no look: its outcome brings one.
    pub(super) fn settle_debts(&mut self, hash: u64, home: &mut Home) {
        let Some(held) = &mut home.held else { return };
        if let Some(sum) = held.admission.owed_to_flush(self.now_ns) {
            let charge = held.admission.charge();
            self.send_debt(hash, home.queue.key().clone(), sum, charge);
        } else if held.admission.owes() {
            let due_ns = self.now_ns + held.admission.quota().recheck_ns();
            self.hot.look_at(due_ns, hash);
        }
    }

    /// Puts a debt into the queue beside the key's. `charge` is what its flush is made with.
    pub(super) fn send_debt(&mut self, hash: u64, key: Bytes, sum: i64, charge: Option<Arc<Clamp>>) {
        let beside = !hash;
        if !self.hot.entries.contains_key(&beside) {
            let identity = [self.gateway.id.as_bytes(), b":debts"].concat();
            let queue = Some(Box::new(self.new_home(&key, &identity, RowId::OVERFLOW, None)));
            let entry = Entry { serves_debts: true, ..Entry::new(key, self.index, self.now_ns, queue) };
            self.hot.entries.insert(beside, entry);
        }
        if let Some(entry) = self.hot.entries.get_mut(&beside) {
            entry.unsettled += 1;
            entry.queue.iter_mut().for_each(|home| home.charge.clone_from(&charge));
        }
        let version = RespVersion::Resp2;
        let waiter = Waiter {
            worker: DEBT_WORKER,
            client: 0,
            sequence: 0,
            operations: 1,
            received_ns: self.now_ns,
            delta: sum,
            version,
        };
        self.push(beside, Op::Increment(sum), waiter, version);
    }

    /// What came of a debt. `beside` is the hash of its own queue.
    pub(super) fn settle_debt(&mut self, beside: u64, sum: i64, reply: &[u8]) {
        if let Some(entry) = self.hot.entries.get_mut(&beside) {
            entry.unsettled -= 1;
        }
        let now_ns = self.now_ns;
        let home = self.hot.entries.get_mut(&!beside).and_then(|entry| entry.queue.as_mut());
        let Some(Home { held: Some(held), failed_since_ns, queue, .. }) = home.map(|home| &mut **home) else {
            if parse_integer_reply(reply).is_none() {
                let key = self.hot.entries.get(&beside).map(|entry| entry.key.escape_ascii().to_string());
                tracing::warn!(
                    key,
                    sum,
                    "a sum that a quota let through unchecked is lost: the quota is gone from the configuration"
                );
            }
            return;
        };
        match parse_integer_reply(reply) {
            Some(value) => {
                held.admission.on_owed_added(now_ns, value);
                // Redis is back, so whatever waits has its full time from here on.
                *failed_since_ns = if queue.is_in_doubt() { now_ns } else { 0 };
            }
            None if first_error(reply).is_some_and(|text| text.starts_with(OUTCOME_UNKNOWN)) => {
                held.admission.on_owed_unknown();
                let key = held.admission.quota().key().escape_ascii().to_string();
                tracing::warn!(
                    key,
                    sum,
                    "whether a sum that was let through unchecked is in the counter is not known"
                );
            }
            None if first_error(reply).is_some_and(is_for_good) => {
                held.admission.on_owed_refused(now_ns);
                *failed_since_ns = if queue.is_in_doubt() { now_ns } else { 0 };
                let key = held.admission.quota().key().escape_ascii().to_string();
                let error = first_error(reply).unwrap_or_default().escape_ascii().to_string();
                tracing::warn!(
                    key,
                    sum,
                    error,
                    "a sum that was let through unchecked is lost: Redis can't add it to what the counter's key holds"
                );
            }
            None => held.admission.on_owed_lost(sum),
        }
        self.hot.timers.push((now_ns, !beside));
        self.hot.wake();
    }

    /// Whether something that was let through is not in its counter yet.
    pub fn owes(&self) -> bool {
        let held = |entry: &Entry| {
            entry
                .queue
                .as_ref()
                .is_some_and(|home| home.held.as_ref().is_some_and(|held| held.admission.owes()))
        };
        self.hot.entries.values().any(held)
    }
}
