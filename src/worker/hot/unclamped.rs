//! The unclamped queue of a counter: what `on_unavailable = "allow"` let through is owed to the counter, and has to be added without
//! a clamp, so it may not share a flush with what is clamped.
//!
//! The queue is an entry under the complement of the key's hash, with tokens of its own, which the pump treats as any other. How much
//! is owed, and when it is added, the admission knows ([`crate::admission::Owed`]).

use std::sync::Arc;

use bytes::Bytes;

use super::behind::Unflushed;
use super::entry::{Entry, HotKey};
use super::{Due, HotKeys};
use crate::admission::Owed;
use crate::combine::{Clamp, Op, Verb};
use crate::resp::{RespVersion, first_error, parse_integer_reply};
use crate::route::SlotAt;
use crate::shared::ending::Ending;
use crate::shared::handoff::{AnswerTo, Waiter};
use crate::shared::keyed::RowId;
use crate::shared::keys::KeyNames;
use crate::shared::labels::RequestClass;
use crate::worker::core::Core;

/// How long an unclamped queue is kept at least.
const UNCLAMPED_QUEUE_NS: u64 = 1_000_000_000;

/// How the errors begin that an increment gets for what its key holds, however often it is tried. All others pass, or are an
/// operator's to repair.
const ERRORS_FOR_GOOD: [&[u8]; 3] = [
    b"WRONGTYPE ",
    b"ERR value is not an integer or out of range",
    b"ERR increment or decrement would overflow",
];

/// What was let through for a quota that a reload has taken away. It goes on being paid, and nobody else remembers it.
#[derive(Debug)]
pub(super) struct OrphanedSum {
    pub key: Bytes,
    /// Where it lives.
    pub place: SlotAt,
    pub owed: Owed,
    /// What of it is in no queue.
    pub unsent: i64,
}

fn is_for_good(error: &[u8]) -> bool {
    ERRORS_FOR_GOOD.iter().any(|beginning| error.starts_with(beginning))
}

impl HotKeys {
    /// Adds what was let through unchecked, if it is time to try; otherwise sees to it that it is looked at again. What is on
    /// its way needs no look: its outcome brings one.
    pub(super) fn flush_owed(&mut self, core: &mut Core, hash: u64, home: &mut HotKey) {
        let Some(held) = &mut home.held else { return };
        if let Some(sum) = held.admission.owed_to_flush(core.now_ns) {
            let charge = held.admission.charge();
            self.send_owed(core, hash, (home.queue.key().clone(), home.place), sum, charge);
        } else if let Some(due_ns) = held.admission.owed_due_ns() {
            self.look_at(due_ns, hash);
        }
    }

    /// Puts a sum that is owed into the unclamped queue of the key. `charge` is what its flush is made with.
    pub(super) fn send_owed(
        &mut self,
        core: &mut Core,
        hash: u64,
        (key, place): (Bytes, SlotAt),
        sum: i64,
        charge: Option<Arc<Clamp>>,
    ) {
        let unclamped = !hash;
        if !self.entries.contains_key(&unclamped) {
            let identity = [core.gateway.id.as_bytes(), b":debts"].concat();
            let queue = Some(Box::new(self.new_home((&key, place), &identity, RowId::Shared, None)));
            let entry =
                Entry { is_unclamped: true, ..Entry::new(key, place, core.index, core.now_ns, queue) };
            self.entries.insert(unclamped, entry);
            self.arm(Due::Cool(unclamped), core.now_ns + UNCLAMPED_QUEUE_NS);
        }
        let asking = Waiter::asking(core.index, AnswerTo::Admission, core.now_ns);
        let waiter = Waiter { class: RequestClass::Counter, delta: sum, verb: Verb::Incrby, ..asking };
        if let Some(entry) = self.entries.get_mut(&unclamped) {
            entry.unsettled.add(&waiter);
            entry.queue.iter_mut().for_each(|home| home.charge.clone_from(&charge));
        }
        self.push(core, unclamped, Op::Increment(sum), waiter, RespVersion::Resp2);
    }

    /// What came of a sum that was owed. `unclamped` is the hash of its own queue.
    pub(super) fn settle_owed(
        &mut self,
        core: &mut Core,
        unclamped: u64,
        waiter: Waiter,
        (ending, reply): (Ending, &[u8]),
    ) {
        let sum = waiter.delta;
        let mut last = false;
        if let Some(entry) = self.entries.get_mut(&unclamped) {
            entry.unsettled.settle(&waiter);
            last = entry.unsettled.is_none();
        }
        let now_ns = core.now_ns;
        let home = self.entries.get_mut(&!unclamped).and_then(|entry| entry.queue.as_mut());
        let Some(HotKey { held: Some(held), owner, queue, .. }) = home.map(|home| &mut **home) else {
            return self.settle_orphaned_sum(core, unclamped, sum, (ending, reply), last);
        };
        if last {
            self.orphaned_sums.remove(&unclamped);
        }
        match parse_integer_reply(reply) {
            Some(value) => {
                held.admission.on_owed_added(now_ns, value);
                // Redis is back, so whatever waits has its full time from here on.
                owner.forgive(queue.is_in_doubt(), now_ns);
            }
            None if ending.is_unknown() => {
                held.admission.on_owed_unknown();
                let key = core.gateway.key_names.label(held.admission.quota().key());
                tracing::warn!(
                    key,
                    sum,
                    "whether a sum that was let through unchecked is in the counter is not known"
                );
            }
            None if first_error(reply).is_some_and(is_for_good) => {
                held.admission.on_owed_refused(now_ns);
                owner.forgive(queue.is_in_doubt(), now_ns);
                let key = core.gateway.key_names.label(held.admission.quota().key());
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
        self.count_later(!unclamped);
        self.look_at(now_ns, !unclamped);
    }

    /// What came of a sum whose quota is gone from the configuration. `last` says that no other is under way for its key.
    fn settle_orphaned_sum(
        &mut self,
        core: &mut Core,
        unclamped: u64,
        sum: i64,
        (ending, reply): (Ending, &[u8]),
        last: bool,
    ) {
        let Some(Entry { key, place, .. }) = self.entries.get(&unclamped) else { return };
        let error = first_error(reply).unwrap_or_default();
        let in_counter = parse_integer_reply(reply).is_some();
        if !in_counter && !ending.is_unknown() && !is_for_good(error) {
            // Its queue may be in use right now.
            let new = || OrphanedSum { key: key.clone(), place: *place, owed: Owed::default(), unsent: 0 };
            let orphan = self.orphaned_sums.entry(unclamped).or_insert_with(new);
            orphan.unsent = orphan.unsent.saturating_add(sum);
            return self.look_at(core.now_ns, unclamped);
        }
        if !in_counter {
            tracing::warn!(
                key = core.gateway.key_names.label(key),
                sum,
                error = error.escape_ascii().to_string(),
                "a sum that a quota let through unchecked is lost, or may be: the quota is gone from the configuration"
            );
        }
        if last {
            self.orphaned_sums.remove(&unclamped);
        }
    }

    /// Sends again what surely did not come into a counter whose quota is gone.
    pub(super) fn resend_orphaned_sum(&mut self, core: &mut Core, unclamped: u64) {
        let Some(orphan) = self.orphaned_sums.get_mut(&unclamped) else { return };
        let sum = std::mem::take(&mut orphan.unsent);
        if sum != 0 {
            let counter = (orphan.key.clone(), orphan.place);
            self.send_owed(core, !unclamped, counter, sum, None);
        }
    }

    /// Says of each key what was let through and is not known to be in its counter, when the process has to end.
    pub fn report_unpaid(&self, names: &KeyNames) -> Unflushed {
        let held = |entry: &Entry| entry.queue.as_ref()?.held.as_ref()?.admission.owed();
        let of_quotas = self.entries.values().filter_map(|entry| Some((&entry.key, held(entry)?)));
        let orphaned = self.orphaned_sums.values().map(|orphan| (&orphan.key, orphan.owed));
        let mut unpaid = Unflushed::default();
        for (key, Owed { sum, increments, in_doubt }) in of_quotas.chain(orphaned) {
            unpaid.keys += 1;
            unpaid.increments += increments as usize;
            tracing::error!(
                key = names.label(key),
                sum,
                increments,
                in_doubt,
                "increments that a quota let through while Redis was away could not be added to their counter"
            );
        }
        unpaid
    }

    /// Whether something that was let through is not in its counter yet.
    pub fn owes(&mut self) -> bool {
        let HotKeys { owing_keys, entries, orphaned_sums, .. } = self;
        if !orphaned_sums.is_empty() {
            return true;
        }
        let owes = |entry: &Entry| {
            let held = entry.queue.as_ref().and_then(|home| home.held.as_ref());
            held.is_some_and(|held| held.admission.owes())
        };
        while let Some(hash) = owing_keys.iter().next().copied() {
            if entries.get(&hash).is_some_and(owes) {
                return true;
            }
            owing_keys.remove(&hash);
        }
        false
    }
}
