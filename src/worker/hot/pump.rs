//! What the queue of a combined key has ready is sent, and those are told that have waited too long.

use bytes::{Bytes, BytesMut};

use super::entry::Sending;
use super::{FlushCommand, FlushExit, FlushRequest, HotKey, HotKeys, Put};
use crate::combine::{EXEC, Flush, FlushDecision, FlushPolicy, MULTI, TOKEN_TTL_MS};
use crate::limits::{INLINE_BYTES_MAX, QUEUE_BYTES_MAX};
use crate::resp::{RequestLimits, RequestScan, RequestScanner, RespVersion, first_error};
use crate::worker::core::Core;
use crate::worker::errors::UpstreamError;
use crate::worker::names::FlushKey;
use crate::worker::pending::Origin;

/// How long a flush waits before it is sent again.
pub(super) const RETRY_PAUSE_NS: u64 = 10_000_000;

/// Between two flushes that are sent again, of whatever keys: 20,000 a second take some hundredths of a core.
pub(super) const RETRY_SPACING_NS: u64 = 50_000;

impl HotKeys {
    /// Looks at the queue of a key, and sends what of it is to be sent now.
    pub fn flush_key(&mut self, core: &mut Core, exit: &mut impl FlushExit, hash: u64) {
        self.resend_orphaned_sum(core, hash);
        self.with_home(hash, |hot, home| hot.flush_home(core, exit, hash, home));
    }

    fn flush_home(&mut self, core: &mut Core, exit: &mut impl FlushExit, hash: u64, home: &mut HotKey) {
        home.dirty = false;
        self.adopt_limits(core, hash, home);
        // Also while Redis does not answer: then above all it is to be seen what waits.
        self.tally_queue(core, home);
        self.give_up_overdue(core, hash, home);
        self.flush_owed(core, hash, home);
        if !home.unconfirmed.is_empty() {
            // Whoever confirms them has it looked at again.
            return;
        }
        if home.held.as_ref().is_some_and(|held| held.admission.owes()) {
            return self.hold_up(core, hash, home);
        }
        if let Some(due_ns) = home.owner.backs_off_until(core.now_ns) {
            return self.look_at(due_ns, hash);
        }
        if home.is_asking() {
            return self.ask_apart(core, exit, hash, home);
        }
        if home.is_counted_in_vain() {
            if !home.end_apart(None, core.now_ns) {
                home.apart = None;
            }
            return self.look_again(hash, home);
        }
        if !self.begin_turn(core, hash, home) {
            return;
        }
        let apart = home.clamp_apart();
        let is_apart = apart.is_some();
        let clamp = home.held.as_ref().and_then(|held| held.admission.clamp().cloned());
        let clamp = apart.unwrap_or(clamp).or_else(|| home.charge.clone());
        let policy = FlushPolicy {
            interval_ns: core.config.combine.flush_interval.as_nanos() as u64,
            early_min: core.config.combine.early_flush_min,
            exactly_once: !is_apart && self.wants_tokens(core, hash, home),
            clamp: clamp.as_ref(),
            withhold: home.held.is_some() && clamp.is_none(),
        };
        match home.queue.next_flush(core.now_ns, &policy) {
            FlushDecision::Send(flush) => self.send_flush(core, exit, (hash, home), &flush),
            FlushDecision::InFlight => {}
            FlushDecision::Idle => self.pass_turn_on(core, hash, home),
            FlushDecision::NotBefore(due_ns) => {
                self.pass_turn_on(core, hash, home);
                self.look_at(due_ns, hash);
            }
            FlushDecision::Withheld => {
                self.pass_turn_on(core, hash, home);
                self.hold_up(core, hash, home);
            }
        }
    }

    /// Puts a flush that was decided on the wire.
    fn send_flush(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        (hash, home): (u64, &mut HotKey),
        flush: &Flush,
    ) {
        let mut bytes = BytesMut::new();
        home.queue.encode(&mut bytes);
        if let Some(held) = home.held.as_mut().filter(|_| !flush.resend) {
            held.admission.on_flush(home.queue.len() > flush.operations);
        }
        let sending = self.next_sending();
        let request = FlushRequest {
            origin: Origin::Flush(FlushKey { hash, sending }),
            version: flush.version.unwrap_or(RespVersion::Resp2),
            commands: &split_commands(&bytes.freeze(), flush.commands),
        };
        match home.owner.send(core, exit, (home.place, sending), request) {
            Put::Sent(node) => {
                home.sending = Sending { node: Some(node), expected: flush.commands, ..Sending::default() };
                self.count_flush(node);
                if let Some(wait) = home.replica_wait() {
                    exit.prepare_confirmation(core, node, wait);
                }
            }
            // It is looked at again when there is room.
            Put::NoRoom => {
                self.pass_turn_on(core, hash, home);
                home.queue.not_executed();
            }
            Put::Unreachable => {
                self.pass_turn_on(core, hash, home);
                home.queue.not_executed();
                self.try_later(core, hash, home);
            }
        }
        tally_flush(core, home, flush.operations as u64);
    }

    /// Whether the flushes of a key carry tokens. Those of unclamped queues always do: what they add was answered before.
    fn wants_tokens(&mut self, core: &Core, hash: u64, home: &HotKey) -> bool {
        core.config.combine.exactly_once
            || home.held.as_ref().is_some_and(|held| held.admission.quota().exactly_once())
            || self.entries.get(&hash).is_some_and(|entry| entry.is_unclamped)
            || self.rules.wants_tokens(home.queue.key(), hash)
    }

    /// No increment may go before the limits of the key have been read once, and nothing before what was let through is in the
    /// counter: that is looked at again soon, and counts as a failure.
    fn hold_up(&mut self, core: &mut Core, hash: u64, home: &mut HotKey) {
        if home.queue.is_empty() {
            return;
        }
        home.owner.on_failure(core.now_ns);
        let due_ns = self.next_retry_ns(core.now_ns);
        self.look_at(due_ns, hash);
    }

    /// Answers members whose flush could not be brought to an end in time: each has waited as long as a request that is not folded.
    fn give_up_overdue(&mut self, core: &mut Core, hash: u64, home: &mut HotKey) {
        let Some(since_ns) = home.owner.failing_since_ns() else { return };
        let failing_ns = core.now_ns.saturating_sub(since_ns);
        let patience_ns = core.unavailable_wait_ns(home.place.cluster);
        if failing_ns < patience_ns {
            return;
        }
        let error = &unsent_error(core, home)[..];
        // What was surely not executed waits on for those whose time is not over.
        home.queue.take_back();
        let (queue, held) = (&mut home.queue, &mut home.held);
        if let Some(held) = held {
            held.admission.on_unavailable(core.now_ns);
        }
        // A quota that lets through does so for all, once it is known that Redis is away.
        let at_once = held.as_ref().is_some_and(|held| held.admission.lets_through());
        let due_ns = core.now_ns.saturating_sub(patience_ns);
        queue.abandon_waiting(
            error,
            |waiter| at_once || waiter.received_ns <= due_ns,
            |waiter, settled| self.settle_given_up(core, hash, held.as_deref_mut(), waiter, settled),
        );
        // A flush that may have taken effect is asked for until its outcome is known, for as long as its token is remembered.
        let limit_ns = match queue.is_in_doubt() {
            true => TOKEN_TTL_MS * 1_000_000 / 2,
            false => patience_ns,
        };
        if failing_ns < limit_ns {
            return;
        }
        queue.abandon(error, |waiter, settled| {
            self.settle_given_up(core, hash, held.as_deref_mut(), waiter, settled)
        });
        // A reply that still comes is nobody's.
        home.owner.disown();
        self.pass_turn_on(core, hash, home);
        (home.sending, home.apart) = (Sending::default(), None);
        // The walk over those who wait is made some times in as long as they do.
        match home.queue.waiting_members().map(|waiter| waiter.received_ns).min() {
            Some(oldest_ns) => home.owner.fail_since(oldest_ns.max(due_ns + patience_ns / 8)),
            None => home.owner.on_success(),
        }
    }
}

/// What members of a flush are told that was not executed in time, without the leading `-`: what Redis said last.
fn unsent_error(core: &Core, home: &HotKey) -> String {
    let said = home.said.as_deref().and_then(first_error).filter(|said| !said.starts_with(b"MOVED "));
    match said {
        Some(said) => String::from_utf8_lossy(said).into_owned(),
        None if core.snapshots.topology.master_of(home.place).is_none() => {
            UpstreamError::Unassigned(home.place).to_string()
        }
        None => {
            "ERR hotgate: the key's node can't be reached; the command was not sent, try again".to_owned()
        }
    }
}

/// Counts a flush. The wait is that of its oldest member: no other had to wait longer.
fn tally_flush(core: &mut Core, home: &mut HotKey, members: u64) {
    let since_ns = home.waiting_since_ns.take();
    let waited_us = since_ns.map_or(0, |since_ns| core.now_ns.saturating_sub(since_ns) / 1000);
    let tally = &mut core.tallies.combine;
    tally.batch_size.record(members);
    tally.added_wait_us.record(waited_us);
    tally.keys.row(home.row).added_wait_us_sum += waited_us * members;
}

/// The commands of a flush one by one: each awaits a reply of its own. A transaction is one of them.
fn split_commands(bytes: &Bytes, commands: usize) -> Vec<FlushCommand> {
    if commands == 1 && !bytes.starts_with(MULTI) {
        return vec![bytes.clone().into()];
    }
    let limits = RequestLimits {
        bulk_bytes_max: QUEUE_BYTES_MAX,
        arguments_max: usize::MAX,
        inline_bytes_max: INLINE_BYTES_MAX,
        authenticated: true,
    };
    let mut scanner = RequestScanner::new(limits);
    let mut rest = bytes.clone();
    let mut split = Vec::with_capacity(commands);
    let (mut at, mut leading, mut is_inside) = (0, 0, false);
    while let RequestScan::Complete { len } = scanner.scan(&rest[at..]) {
        let request = &rest[at..at + len];
        (at, is_inside) = (at + len, (is_inside || request == MULTI) && request != EXEC);
        if is_inside {
            leading += 1;
        } else {
            split.push(FlushCommand { bytes: rest.split_to(at), leading });
            (at, leading) = (0, 0);
        }
        if rest.is_empty() {
            break;
        }
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_one_command_of_a_flush() {
        let get: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let incr: &[u8] = b"*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n";
        let whole = [MULTI, incr, get, EXEC].concat();
        let check = |parts: &[&[u8]], expect: &[(&[u8], u32)]| {
            let split = split_commands(&parts.concat().into(), expect.len());
            let found: Vec<(&[u8], u32)> =
                split.iter().map(|command| (&command.bytes[..], command.leading)).collect();
            assert_eq!(found, expect);
        };
        check(&[get], &[(get, 0)]);
        check(&[get, incr], &[(get, 0), (incr, 0)]);
        check(&[&whole], &[(&whole, 3)]);
        check(&[get, &whole, &whole, incr], &[(get, 0), (&whole, 3), (&whole, 3), (incr, 0)]);
    }
}
